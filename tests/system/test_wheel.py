"""A wheel in a virtual environment of its own, in an empty folder: every command without the checkout."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

from roadmap import __version__

pytestmark = pytest.mark.system  # builds, installs, and trains four runs: a minute

ROOT = Path(__file__).parents[2]
SOURCES = ("conf", "hydra_plugins", "roadmap", "pyproject.toml", "setup.py", "MANIFEST.in", "README.md")
SHORT = ["recipe.epochs=2", "recipe.warmup_epochs=1"]
# Commands in one process, since each start takes seconds.
ONE_BY_ONE = """
import sys
from importlib import import_module
for command in sys.argv[1:]:
    name, *words = command.split()
    assert import_module(f"roadmap.cli.{name}").main(words) == 0, command
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel, and this one's packages but not its checkout."""
    place = tmp_path_factory.mktemp("wheel")
    (source := place / "source").mkdir()
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name)
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    built = ["wheel", str(source), "--no-deps", "--no-build-isolation", "-w", str(place)]
    subprocess.run([*pip, *built], check=True)
    (wheel,) = place.glob("*.whl")
    venv.create(place / "venv", with_pip=False)
    (packages,) = (place / "venv/lib").glob("python*/site-packages")
    folders = [path for path in sys.path if path.endswith("site-packages")] or [sysconfig.get_path("purelib")]
    (packages / "others.pth").write_text("\n".join(folders))  # a .pth in them is not followed
    python = str(place / "venv/bin/python")
    install = ["-m", "pip", "-q", "--disable-pip-version-check", "install", "--no-deps", "--ignore-installed"]
    subprocess.run([python, *install, str(wheel)], check=True)
    return place / "venv/bin"


@pytest.fixture
def run(environment: Path, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}

    def start(*words: str, program: str = "convnet-roadmap") -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [str(environment / program), *words],
            cwd=tmp_path,
            env=clean,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    return start


def test_a_wheel_needs_no_checkout(run: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path) -> None:
    where = run("-c", "import roadmap.config as c; print(c.CONF_DIR)", program="python").stdout.strip()
    assert Path(where).parts[-3:] == ("site-packages", "roadmap", "conf")
    sweep = run(
        "train", "-m", "+roadmap=step0_resnet,step1_stage_ratio", "seed=0,1", *SHORT, "hydra/launcher=processes"
    )
    assert "convnet-roadmap status" in sweep.stdout
    folder = tmp_path / "outputs/micro-digits/step0_resnet/seed0"
    assert json.loads((folder / "summary.json").read_text())["commit"] == f"version {__version__}"
    shown = run("status").stdout
    assert shown.count("done") >= 4
    assert "convnet-roadmap report" in run("plot").stdout
    results = ["report", "attribute", "check", "compare micro-digits micro-digits"]
    published = ["publish --to results", "plot results", "show step0_resnet"]
    assert "stage 2" in run("-c", ONE_BY_ONE, *results, *published, program="python").stdout
    drawn = {path.name for path in (tmp_path / "outputs/micro-digits/figures").iterdir()}
    assert drawn > {"report.html", "roadmap.svg"}
    assert "step12_downsample" in run("train", "--help").stdout
