"""wandb_dashboard.py prints without a network what it saves with one, and reports errors in one line."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from fixture_types import Call

from roadmap.config.roadmap_files import load_roadmap
from roadmap.config.roadmaps import Choice

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts/wandb_dashboard.py"
MODULE = ROOT / "roadmap/cli/wandb_dashboard.py"
WITHOUT_LIBRARY = """
import runpy, sys
sys.modules["wandb_workspaces"] = None  # an import of it fails
runpy.run_path("scripts/wandb_dashboard.py", run_name="__main__")
"""
# From the library's import.
pytestmark = pytest.mark.filterwarnings("ignore:Pydantic V1 style:DeprecationWarning")


@pytest.fixture
def printed(call: Call) -> Callable[..., list[dict[str, Any]]]:
    """Return what the command prints for a project and an experiment."""
    return lambda *words: json.loads(call("wandb_dashboard", "team/trial", *words, "--print").out)


def run_sets(page: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the run sets of a report or a workspace."""
    if "section" in page["spec"]:
        return page["spec"]["section"]["runSets"]
    grids = [block["metadata"] for block in page["spec"]["blocks"] if block["type"] == "panel-grid"]
    return [run_set for grid in grids for run_set in grid["runSets"]]


def filters(run_set: dict[str, Any]) -> dict[str, str]:
    return {item["key"]["name"]: item["value"] for item in run_set["filters"]["filters"]}


def test_all_panels_show_the_training_runs_of_the_experiment(printed: Callable[..., Any]) -> None:
    report, *workspaces = printed("--experiment", "swin, 3 (b)")
    for page in (report, *workspaces):
        for run_set in run_sets(page):
            assert filters(run_set).items() >= {("jobType", "train"), ("group", "swin, 3 (b)")}
    assert all(filters(run_set)["state"] == "finished" for run_set in run_sets(report))
    assert {filters(run_set).get("step") for run_set in run_sets(report)} == {None, "step7_kernel"}
    assert not any("group" in filters(run_set) for page in printed() for run_set in run_sets(page))


def test_a_roadmap_of_the_users_own_is_found_in_its_folder(printed: Callable[..., Any], own_roadmap: Path) -> None:
    report, *_ = printed("--roadmap", "mine", "--config-dir", own_roadmap)
    assert "Mine" in json.dumps(report)


def test_an_axis_of_the_users_own_keeps_its_capitals() -> None:
    from roadmap.cli.wandb_dashboard import find_curve

    choice = Choice("step1_se", {"SE_ratio": "4"}, {"SE_ratio": "16"})
    curve = find_curve(replace(load_roadmap(), choices=(choice,), curve="step1_se"))
    assert curve is not None
    assert (curve.title, curve.name) == ("SE ratios", "SE ratios")
    curve = find_curve(load_roadmap())
    assert curve is not None
    assert (curve.title, curve.name) == ("Kernel sizes", "kernel sizes")


def test_thirteen_steps_are_not_cut_off_at_ten(printed: Callable[..., Any]) -> None:
    report, *workspaces = printed()
    panels = [
        panel
        for block in report["spec"]["blocks"]
        if block["type"] == "panel-grid"
        for panel in block["metadata"]["panelBankSectionConfig"]["panels"]
    ]
    assert {panel["viewType"] for panel in panels} == {"Bar Chart", "Scatter Plot", "Run History Line Plot"}
    for panel in panels:
        if panel["viewType"] != "Scatter Plot":
            assert (panel["config"]["groupAgg"], panel["config"]["groupArea"]) == ("mean", "stddev")
            assert panel["config"]["limit"] == panel["config"].get("barLimit", 100) == 100
    assert {page["spec"]["section"]["settings"]["maxRuns"] for page in workspaces} == {100}


def run_script(home: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the script as a user who has never logged in."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB")}
    return subprocess.run(
        [sys.executable, *(words or (str(SCRIPT), "team/trial"))],
        cwd=ROOT,
        env={**kept, "HOME": str(home), "NETRC": str(home / ".netrc"), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


@pytest.mark.system  # two processes: 3 s
def test_without_account_or_library_the_way_out_is_named(tmp_path: Path) -> None:
    done = run_script(tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: team/trial: not saved (")
    assert "`wandb login`" in line
    done = run_script(tmp_path, "-c", WITHOUT_LIBRARY)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "needs the package wandb-workspaces: pip install wandb-workspaces" in line


def test_the_library_is_imported_here_alone() -> None:
    files = [*ROOT.glob("*.py"), *ROOT.glob("roadmap/**/*.py"), *ROOT.glob("scripts/*.py")]
    assert [file for file in files if "wandb_workspaces" in file.read_text()] == [MODULE]


class Server(BaseHTTPRequestHandler):
    """Answers the library's requests before a save, and records what it sends."""

    saved: list[dict[str, Any]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        answer: dict[str, Any] = {}
        if self.path == "/graphql":
            request = json.loads(body)
            query, sent = request["query"], request.get("variables")
            if "viewer" in query:
                answer = {"viewer": {"id": "1", "entity": "team", "username": "one", "flags": "{}", "teams": None}}
            elif "query GetProjects" in query:
                answer = {"models": {"edges": [], "pageInfo": {"endCursor": None, "hasNextPage": False}}}
            elif "mutation CreateProject" in query:
                project = {"id": "1", **sent["input"]}
                answer = {"result": {"project": project, "model": project, "inserted": True}}
            elif "upsertView" in query:
                self.saved.append(sent)
                view = {"id": "1", "project": {"name": sent["projectName"], "entityName": sent["entityName"]}}
                answer = {"upsertView": {"view": {**sent, **view}, "inserted": True}}
        content = json.dumps({"data": answer}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    Server.saved = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        Thread(target=server.serve_forever).start()
        yield server
        server.shutdown()


@pytest.mark.system  # a process and a server: 3 s
def test_what_is_printed_is_what_a_server_is_sent(
    tmp_path: Path, server: ThreadingHTTPServer, printed: Callable[..., Any]
) -> None:
    address = f"http://127.0.0.1:{server.server_port}"
    done = run_script(tmp_path, WANDB_BASE_URL=address, WANDB_API_KEY="0" * 40)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(f"{address}/team/trial") == 3
    pages = printed()
    assert [(sent["type"], sent["displayName"]) for sent in Server.saved] == [
        ("runs", "Roadmap"),
        ("project-view", "Roadmap"),
        ("project-view", "Kernel sizes"),
    ]
    for page, sent in zip(pages, Server.saved, strict=True):
        assert (sent["entityName"], sent["projectName"]) == ("team", "trial")
        assert without_ids(json.loads(sent["spec"])) == without_ids(page["spec"])


def without_ids(value: Any) -> Any:
    """Remove the names that the library generates for each panel and run set on every call."""
    if isinstance(value, dict):
        return {key: without_ids(item) for key, item in value.items() if key not in ("id", "__id__")}
    return [without_ids(item) for item in value] if isinstance(value, list) else value
