"""report.py writes one self-contained page, escapes every name, and shows the command that makes it again."""

import html
import json
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from fixture_types import Call, Write
from omegaconf import OmegaConf

from roadmap.config import plan_runs, read_config
from roadmap.config.roadmap_files import load_roadmap

Report = Callable[..., str]  # writes a report and returns the page
STEPS = load_roadmap().steps
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture
def report(call: Call) -> Report:
    """Run the command on a folder and return the page."""

    def run(folder: Path, *words: str) -> str:
        assert call("report", folder, *words).err == ""
        name = "report-best.html" if "--best" in words else "report.html"
        return (folder / "figures" / name).read_text()

    return run


class Tags(HTMLParser):
    """Every tag and attribute of a page, and the text of its visible parts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def without_library(page: str) -> str:
    return re.sub(r'(id="plotly">)[^<]*', r"\1", page)


def visible(page: str) -> str:
    """Return the text that a reader sees, without markup."""
    body = re.sub(r"<(script|style).*?</\1>", "", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", html.unescape(re.sub("<[^>]*>", " ", body)))


def test_the_page_needs_no_other_file_and_no_network(tmp_path: Path, report: Report, write_run: Write) -> None:
    for seed in range(2):
        write_run(tmp_path / "trial", "step6_move_up", seed=seed, top1=90.0 + seed)
        write_run(tmp_path / "trial", "step7_kernel", seed=seed, top1=92.0 + seed)
        write_run(tmp_path / "trial", "step7_kernel", "model/kernel_size=9", seed=seed, top1=91.0 + seed)
    page = report(tmp_path / "trial")
    assert len(page) < 3e6
    tags = Tags(without_library(page)).found
    for tag, attributes in tags:
        assert tag not in ("iframe", "img", "object", "embed", "form")
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href", "action"):
            assert re.match(r"#|data:,$", attributes.get(name) or "#"), (tag, attributes)
    policies = [attributes["content"] for tag, attributes in tags if "http-equiv" in attributes]
    assert policies == [policy for policy in policies if policy and policy.startswith("default-src 'none'")] != []
    for name in ("roadmap", "waterfall", "costs", "curves", "kernels"):
        assert page.count(f'id="chart-{name}"') == 1
    assert "http" not in re.sub("http-equiv|http://www.w3.org", "", without_library(page))


def test_a_factorial_is_shown_where_it_is_asked_for(tmp_path: Path, report: Report, write_run: Write) -> None:
    for step, *words in [
        ("step10_fewer_norms",),
        ("step11_layernorm",),
        ("step12_downsample", "model/norm=batchnorm"),
        ("step12_downsample",),
    ]:
        write_run(tmp_path / "trial", step, *words)
    assert 'id="chart-factorial"' not in report(tmp_path / "trial")
    page = report(tmp_path / "trial", "--axes", "norm,downsample")
    assert page.count('id="chart-factorial"') == 1
    options = "--axes norm,downsample"
    assert f"python scripts/attribute.py {tmp_path / 'trial'} {options}" in visible(page)
    assert f"python scripts/report.py {tmp_path / 'trial'} {options}" in visible(page)


def test_the_users_names_keep_their_capitals(tmp_path: Path, report: Report, write_run: Write) -> None:
    write_run(tmp_path / "trial", "step0_resnet", "data.name=MyFlowers", "recipe.name=LAMB")
    assert re.search(r"Regime \w+, data MyFlowers, recipe LAMB", visible(report(tmp_path / "trial")))


def test_names_and_errors_are_shown_and_not_obeyed(tmp_path: Path, report: Report, write_run: Write) -> None:
    hostile = "</script><script>alert('x')</script><img src=x onerror=alert(1)>{{ 7*7 }}"
    clean = tmp_path / "clean"
    for folder in (clean, tmp_path / "hostile"):
        name = hostile if folder != clean else "plain"
        write_run(folder, "step6_move_up", top1=90.0, label=name)
        run = write_run(folder, "step7_kernel", top1=91.0, label=name, variant={"kernel_size": name})
        config = OmegaConf.load(run / "config.yaml")
        config.data.note = name
        config.recipe.name = name
        OmegaConf.save(config, run / "config.yaml")
        write_run(folder, "step8_gelu", state="failed", error=name)
    tags = [tag for tag, _ in Tags(without_library(report(tmp_path / "hostile"))).found]
    page = without_library(report(tmp_path / "hostile"))
    assert hostile in visible(page)
    assert "</script><script>alert" not in page
    assert sorted(tags) == sorted(tag for tag, _ in Tags(without_library(report(clean))).found)


def test_a_sweep_that_still_runs_shows_what_is_missing(tmp_path: Path, report: Report, write_run: Write) -> None:
    folder = tmp_path / "trial"
    write_run(folder, "step0_resnet")
    write_run(folder, "step1_stage_ratio", state="running", epochs=2)
    write_run(folder, "step2_patchify", state="failed", error="loss is not finite in epoch 2")
    pending = write_run(folder, "step3_depthwise", state="pending")
    (pending / "metrics.jsonl").unlink()
    (pending / "config.yaml").unlink()
    text = visible(report(folder))
    assert "1 pending, 1 running, 1 done, 1 failed; rows without a result: 12" in text
    assert "step1_stage_ratio: no finished run (1 unfinished)" in text
    assert "step12_downsample: no finished run" in text
    assert "step2_patchify/seed0 failed loss is not finite in epoch 2" in text


@pytest.mark.parametrize("state", ["failed", "pending"])
def test_a_row_has_the_recipe_and_network_of_its_finished_runs(
    tmp_path: Path, report: Report, write_run: Write, state: str
) -> None:
    folder = tmp_path / "trial"
    first = write_run(folder, "step0_resnet", "recipe.lr=0.5", state=state)
    if state == "pending":
        (first / "config.yaml").unlink()
    write_run(folder, "step0_resnet", "recipe.lr=0.01", seed=1)
    write_run(folder, "step1_stage_ratio", "recipe.lr=0.01", seed=1)
    text = visible(report(folder))
    assert "recipe.lr 0.01 " in text
    assert "recipe.lr 0.5" not in text
    assert "(step0_resnet)" in text  # in the walk through the networks


def test_the_commands_compose_the_configurations_of_the_runs(
    tmp_path: Path, report: Report, write_run: Write
) -> None:
    folder = tmp_path / "trial"
    words = ["recipe.epochs=5", "recipe.lr=0.0005", "hardware.per_device_batch=32"]
    words += ["recipe.augment.scale=[0.5,1.0]"]
    for seed in range(2):
        write_run(folder, "step0_resnet", *words, seed=seed)
        write_run(folder, "step7_kernel", *words, seed=seed)
    write_run(folder, "step7_kernel", *words, "model/kernel_size=9")
    write_run(folder, "original", "regime=resnet50", "data=imagenet", "data.root=/data/image net")
    page = report(folder)
    found = {html.unescape(text) for text in re.findall(r"<code>(python train.py .*?)</code>", page)}
    composed = []
    for command in found:
        _, _, *rest = shlex.split(command)
        is_sweep = rest[0] == "-m"
        composed += plan_runs(rest[is_sweep:], is_sweep)
    files = [OmegaConf.load(path) for path in folder.glob("*/*/config.yaml")]
    assert len(composed) == len(files) == 6
    expected = {(cfg.step.name, cfg.model.kernel_size, cfg.seed): cfg for cfg in files}
    for config in (run.config for run in composed):
        place = (config.step.name, config.model.kernel_size, config.seed)
        assert config == read_config(expected[place])  # type: ignore[arg-type]


def test_best_says_what_it_was_picked_on(tmp_path: Path, report: Report, write_run: Write) -> None:
    write_run(tmp_path / "trial", "step0_resnet", top1=90.0)
    last, best = report(tmp_path / "trial"), report(tmp_path / "trial", "--best")
    assert "Top-1 accuracy (%), best epoch, picked on the validation set" in visible(best)
    assert ("90.50" in visible(best), "90.50" in visible(last)) == (True, False)
    assert "after the last epoch" not in visible(best)


def test_configurations_of_another_version_cost_the_diagram_alone(
    tmp_path: Path, report: Report, write_run: Write
) -> None:
    run = write_run(tmp_path / "trial", "step0_resnet")
    config = OmegaConf.load(run / "config.yaml")
    config.model.stem = "pyramid"
    config.model.form = "of old"
    OmegaConf.save(config, run / "config.yaml")
    other = write_run(tmp_path / "trial", "step1_stage_ratio")
    (other / "config.yaml").write_text("recipe: [unfinished")
    text = visible(report(tmp_path / "trial"))
    assert "step0_resnet: no diagram, its configuration is of another version: model.stem=pyramid" in text
    assert "step1_stage_ratio: config.yaml cannot be read" in text
    assert "recipe.epochs" in text
    assert "+roadmap=step0_resnet" in text
    assert "train.py seed=0" not in text


def test_nothing_finished_is_one_message(tmp_path: Path, call: Call, write_run: Write) -> None:
    write_run(tmp_path / "trial", "step0_resnet", state="pending")
    refused = call("report", tmp_path / "trial", status=1).err
    assert refused == f"error: {tmp_path}/trial: no finished run (1 pending)\n"
    call("report", tmp_path / "trail", status=1)
    assert not (tmp_path / "trail").exists()


def write_many(folder: Path, epochs: int, write_run: Write) -> None:
    """Write 200 runs: four steps with ten kernel sizes each and five seeds."""
    for step in STEPS[8:12]:
        first = write_run(folder / "one", step, epochs=epochs)
        config, state, summary = (
            (first / name).read_text() for name in ("config.yaml", "state.json", "summary.json")
        )
        for size in range(7, 27, 2):
            name = step if size == 7 else f"{step},kernel_size={size}"
            variant = json.dumps({} if size == 7 else {"kernel_size": str(size)})
            for seed in range(5):
                run = folder / "many" / name / f"seed{seed}"
                shutil.copytree(first, run)
                (run / "config.yaml").write_text(config.replace("kernel_size: 7", f"kernel_size: {size}"))
                for file, text in (("state.json", state), ("summary.json", summary)):
                    own = text.replace('"variant": {}', f'"variant": {variant}').replace(
                        '"seed": 0', f'"seed": {seed}'
                    )
                    (run / file).write_text(own.replace('"top1": 90.0', f'"top1": {90 + seed / 10 + size / 50}'))


@pytest.mark.system  # 200 runs: 5 s
def test_200_runs_are_reported_in_less_than_10_seconds(tmp_path: Path, report: Report, write_run: Write) -> None:
    write_many(tmp_path, 100, write_run)
    assert len(list(tmp_path.glob("many/*/seed*"))) == 200
    start = time.process_time()  # CPU time of this process, since other tests may run concurrently
    page = report(tmp_path / "many")
    assert time.process_time() - start < 10
    assert page.count('<input type="checkbox"') == 40 + 14  # of the curves, and of the table's columns
    assert len(page) < 4e6


def test_the_walk_says_what_each_step_changes_and_costs(tmp_path: Path, report: Report, write_run: Write) -> None:
    for seed in range(2):
        write_run(tmp_path / "trial", "step6_move_up", seed=seed, top1=90.0 + seed / 10)
        write_run(tmp_path / "trial", "step7_kernel", seed=seed, top1=95.0 + seed / 10)
    text = visible(without_library(report(tmp_path / "trial")))
    assert "what changes kernel_size 3 → 7" in text
    assert re.search(r"top-1 95\.05 \(n = 2\), change \+5\.00", text)
    assert re.search(r"M parameters \S+, change [+-]", text)


PROBE = """<script>
const errors = [];
window.addEventListener("error", (event) => errors.push(event.message));
window.addEventListener("securitypolicyviolation", (event) => errors.push(event.violatedDirective));
window.addEventListener("unhandledrejection", (event) => errors.push(String(event.reason)));
const waiting = setInterval(async () => {
  if (!document.documentElement.dataset.ready) return;
  clearInterval(waiting);
  const curves = document.getElementById("chart-curves");
  const costs = document.getElementById("chart-costs");
  const seen = { before: curves.data.length };
  const box = [...document.querySelectorAll("#curve-steps input")].find((one) => !one.checked);
  box.click();
  await new Promise((done) => setTimeout(done, 300));
  seen.after = curves.data.length;
  const menu = document.querySelector('select[data-chart="costs"][data-menu="scale"]');
  menu.selectedIndex = 1;
  menu.dispatchEvent(new Event("change"));
  await new Promise((done) => setTimeout(done, 300));
  seen.scale = costs._fullLayout.xaxis.type;
  const boxes = [...costs.querySelectorAll(".textpoint text")].filter((one) => one.textContent)
    .map((one) => one.getBoundingClientRect());
  seen.names = boxes.length;
  seen.overlaps = boxes.flatMap((a, i) => boxes.slice(i + 1).filter((b) =>
    a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom)).length;
  const rows = document.getElementById("rows");
  const headings = [...rows.tHead.rows[0].cells];
  const top1 = headings.findIndex((one) => one.textContent === "top-1 (%)");
  headings[top1].click();
  const column = [...rows.tBodies[0].rows].map((row) => row.cells[top1].textContent);
  seen.sorted = column.filter(Boolean).map(Number);
  seen.hidden = headings.filter((one) => one.hidden).map((one) => one.textContent);
  document.querySelector("#columns input").click();
  seen.unticked = headings[0].hidden;
  const shown = () => document.querySelector(".network:not([hidden])").dataset.file;
  seen.walk = [shown()];
  document.getElementById("next").click();
  seen.walk.push(shown(), document.querySelectorAll(".network:not([hidden])").length);
  URL.createObjectURL = (blob) => { seen.saved = blob.size; return "#"; };
  document.getElementById("save-block").click();
  const ink = getComputedStyle(document.body).color;
  document.getElementById("theme").click();
  seen.themed = ink !== getComputedStyle(document.body).color;
  const charts = [...document.querySelectorAll(".chart.drawn")];
  seen.drawn = charts.filter((one) => one.querySelector("svg .trace")).length;
  seen.wide = document.documentElement.scrollWidth > window.innerWidth;
  seen.buttons = [...new Set([...document.querySelectorAll(".modebar-btn")].map((one) => one.dataset.title))];
  seen.errors = errors;
  document.title = "seen" + JSON.stringify(seen);
}, 50);
</script></body>"""


@pytest.mark.system
@pytest.mark.skipif(CHROMIUM is None, reason="needs a browser: apt-get install chromium")
def test_a_browser_draws_the_charts_and_answers_the_reader(
    tmp_path: Path, report: Report, write_run: Write
) -> None:
    for index, step in enumerate(STEPS[5:12]):
        for seed in range(2):
            write_run(tmp_path / "trial", step, seed=seed, top1=85.0 + index + seed / 10)
    write_run(tmp_path / "trial", "step7_kernel", "model/kernel_size=9", top1=91.0)
    probe = tmp_path / "probe.html"
    probe.write_text(report(tmp_path / "trial").replace("</body>", PROBE))
    command = [
        str(CHROMIUM),
        *("--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile"),
        *("--enable-logging=stderr", "--virtual-time-budget=20000", "--dump-dom", probe.as_uri()),
    ]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    (title,) = re.findall(r"<title>seen(.*?)</title>", result.stdout)
    seen = json.loads(html.unescape(title))
    assert seen["after"] == seen["before"] + 2  # a line and its band
    assert (seen["scale"], seen["themed"], seen["wide"], seen["errors"]) == ("log", True, False, [])
    assert seen["drawn"] == 5
    assert (seen["names"] > 3, seen["overlaps"]) == (True, 0)
    assert seen["sorted"] == sorted(seen["sorted"], reverse=True)
    assert len(seen["sorted"]) == 8
    assert {"label", "verdict", "95% interval"} <= set(seen["hidden"])
    assert not {"MMACs", "GMACs", "M parameters", "images/s", "paper (ImageNet)"} & set(seen["hidden"])
    assert seen["unticked"]
    assert seen["walk"] == [STEPS[5], STEPS[6], 1]
    assert seen["saved"] > 1000
    assert not any("cloud" in (name or "").lower() or "share" in (name or "").lower() for name in seen["buttons"])
    assert [line for line in result.stderr.splitlines() if ":CONSOLE:" in line] == []
