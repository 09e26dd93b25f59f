"""Figures are the same whatever the user's matplotlib is set to, and a name is drawn as it is."""

import errno
import logging
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib
import pytest
from trial_rows import Write

from roadmap.analysis import tables_and_figures
from roadmap.analysis.tables_and_figures import draw_experiment
from roadmap.cli import console as terminal
from roadmap.cli import plot
from roadmap.cli.sweep_report import report_sweep
from roadmap.config.roadmap_files import load_roadmap

USER = {"text.usetex": True, "font.family": "serif", "axes.facecolor": "red", "text.parse_math": True}


def draw(tmp_path: Path) -> dict[str, bytes]:
    _, paths = draw_experiment(tmp_path / "trial")
    return {path.name: path.read_bytes() for path in paths}


@pytest.mark.system
def test_figures_do_not_depend_on_the_users_rc_file(tmp_path: Path, write_run: Write) -> None:
    """TeX, which may not be installed, above all; the user's settings are in force again afterwards."""
    write_run("step0_resnet", 0, 90.0)
    write_run("step7_kernel", 0, 91.0)
    write_run("step7_kernel", 0, 92.0, variant={"kernel_size": "9"})
    plain = draw(tmp_path)
    assert {"roadmap.png", "roadmap.svg", "roadmap.pdf", "kernels.png"} <= plain.keys()
    with matplotlib.rc_context(USER):
        assert draw(tmp_path) == plain
        assert {key: matplotlib.rcParams[key] for key in ("text.usetex", "axes.facecolor")} == {
            "text.usetex": True,
            "axes.facecolor": "red",
        }


def test_a_name_is_never_mathematics(tmp_path: Path, write_run: Write) -> None:
    names = ["$x^2$ costs $5", "a$b$c", r"\frac{1}{", "100% & #1_{x}", "$\\alpha"]
    for step, name in zip(load_roadmap().steps, names, strict=False):
        write_run(step, label=name, data=names[0], recipe=names[2])
    svg = draw(tmp_path)["roadmap.svg"].decode()
    assert all(name.replace("&", "&amp;") in svg for name in names)


def test_letters_that_the_font_lacks_are_told_once(
    tmp_path: Path, write_run: Write, caplog: pytest.LogCaptureFixture
) -> None:
    write_run("step0_resnet", label="卷积 network")
    with caplog.at_level(logging.WARNING):
        svg = draw(tmp_path)["roadmap.svg"].decode()
    told = [record.getMessage() for record in caplog.records if "font" in record.getMessage()]
    assert told == ["roadmap: the font lacks 卷积, which PNG and PDF show as boxes; the SVG has the text"]
    assert "卷积 network" in svg


@pytest.mark.system  # three programs: 6 s each
@pytest.mark.parametrize(
    ("backend", "rc"),
    [
        ("module://matplotlib_inline.backend_inline", b"text.usetex: True\n"),
        ("nonsense", b"backend: nonsense\nnot: a key\n"),
        ("", b"text.usetex: \xff\xfe\n"),
    ],
)
def test_figures_are_drawn_with_any_backend_and_rc_file(
    tmp_path: Path, write_run: Write, backend: str, rc: bytes
) -> None:
    write_run("step0_resnet")
    (tmp_path / "matplotlibrc").write_bytes(rc)
    program = (
        "import os, sys; from pathlib import Path; from roadmap.analysis.figures.roadmap import draw_roadmap; "
        "from roadmap.analysis.read_runs import read_runs; from roadmap.analysis.results import aggregate; "
        "draw_roadmap(aggregate(read_runs(Path(sys.argv[1]))), Path(sys.argv[1]) / 'figure'); "
        "print(os.environ.get('MPLBACKEND'))"
    )
    environment = os.environ | {"MATPLOTLIBRC": str(tmp_path / "matplotlibrc"), "MPLBACKEND": backend}
    command = [sys.executable, "-c", program, str(tmp_path / "trial")]
    printed = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert printed == f"{backend}\n"  # of the user's own figures
    assert (tmp_path / "trial/figure.png").read_bytes()


@pytest.mark.parametrize(
    ("is_blocked", "reason"),
    [
        (False, "RuntimeError: latex was not found."),
        (True, "trial/figures is no folder, where the figures' folder belongs"),
    ],
)
def test_a_drawing_error_of_any_kind_is_a_warning(
    tmp_path: Path,
    write_run: Write,
    is_blocked: bool,
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The table of a finished sweep is printed all the same, and no error is noted, so the status is 0."""
    run = write_run(top1=87.65)

    def fail(*args: object) -> None:
        raise RuntimeError("latex was not found\nand a long log")

    if is_blocked:
        (tmp_path / "trial/figures").write_text("mine")
    else:
        monkeypatch.setattr(tables_and_figures, "draw_roadmap", fail)
    monkeypatch.setattr(terminal.ERR, "width", 400)
    terminal.forget()
    report_sweep([SimpleNamespace(path=run, is_done=lambda: True)], set())  # type: ignore[list-item]
    printed = capsys.readouterr()
    assert "87.65" in printed.out
    assert printed.err.startswith(f"warning: no figures of {tmp_path / 'trial'}: ")
    assert reason in printed.err
    assert "a long log" not in printed.err
    assert "python scripts/plot_roadmap.py" in printed.err
    assert terminal.errors == []


def test_a_folder_that_is_read_only_has_its_table_printed_and_its_figures_elsewhere(
    tmp_path: Path, write_run: Write, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(top1=87.65)
    make = Path.mkdir

    def refuse(path: Path, *args: Any, **kwargs: Any) -> None:
        if path.is_relative_to(tmp_path / "trial"):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        make(path, *args, **kwargs)

    monkeypatch.setattr(Path, "mkdir", refuse)
    trial = str(tmp_path / "trial")
    assert plot.main([trial]) == 1
    printed = capsys.readouterr()
    assert "87.65" in printed.out
    assert (
        printed.err == f"error: {trial}/figures can't be created: Read-only file system. Write elsewhere by --to\n"
    )
    assert plot.main([trial, "--to", str(tmp_path / "mine")]) == 0
    assert (tmp_path / "mine/roadmap.svg").exists()
