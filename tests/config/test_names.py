"""A name written into an override is read by Hydra as the same name, whatever it looks like."""

from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given, settings
from hypothesis import strategies as st

from roadmap.config import SearchPath, plan_runs, quote, read_sweep, use
from roadmap.config.roadmap_files import load_roadmap
from roadmap.errors import ConfigError

PARSER = OverridesParser.create()


@settings(max_examples=300, deadline=None)
@given(st.text(), st.text())
@example("100", "1e-3")
@example("true", "null")
@example("nan", "inf")
@example("été", "a,b")
@example("f(x)", "two words")
@example("it's", 'say "so"')
@example("back\\slash\\", "\\'")
@example("glob(*)", "range(3)")
@example("${seed}", "[1,2]")
@example("", " ")
def test_a_quoted_name_is_read_as_it_is(name: str, other: str) -> None:
    (alone, both) = PARSER.parse_overrides([f"recipe={quote(name)}", f"recipe={quote(name)},{quote(other)}"])
    assert (alone.value(), alone.is_sweep_override()) == (name, False)
    assert [item.text if hasattr(item, "text") else item for item in both.value().list] == [name, other]


def test_a_plain_name_stays_as_it_is() -> None:
    for name in ("step5_inverted", "convnext_tiny.fb_in1k", "outputs/trial", "./weights.pt"):
        assert quote(name) == name


@pytest.mark.parametrize(
    ("mark", "is_right"), [(" ", True), ("-", True), (".5(", True), ("@", False), ("'", False)]
)
def test_names_of_a_roadmap_and_its_steps_in_a_sweep(tmp_path: Path, mark: str, is_right: bool) -> None:
    """Those that Hydra reads as something else are refused when the roadmap is read."""
    name, steps = f"my{mark}map", [f"step0{mark}a", f"step1{mark}b", f"step2{mark}c"]
    changes = ("recipe: {mixup: 0.0, cutmix: 0.0}", "recipe: {mixup: 0.8}", "recipe: {cutmix: 1.0}")
    folder = tmp_path / "roadmap" / name
    folder.mkdir(parents=True)
    listed = ", ".join(f'"{step}"' for step in steps)
    (folder / "roadmap.toml").write_text(f'title = "Mine"\n[[sections]]\nlabel = "All"\nsteps = [{listed}]\n')
    for index, (step, change) in enumerate(zip(steps, changes, strict=True)):
        base = f'\n  - "/roadmap/{name}/{steps[index - 1]}"' if index else ""
        (folder / f"{step}.yaml").write_text(
            f"# @package _global_\ndefaults:{base}\n  - _self_\n"
            f'step: {{name: "{step}", index: {index}, label: {index}, roadmap: "{name}"}}\n{change}\n'
        )
    with use(SearchPath((str(tmp_path),))):
        if not is_right:
            with pytest.raises(ConfigError, match="must be printable and without , = @ ' /: rename it"):
                load_roadmap(name)
            return
        sweep = read_sweep(["+sweep=leave_one_out", f"sweep.roadmap={quote(name)}"], is_sweep=True)
        assert sweep is not None
        runs = plan_runs(sweep.overrides(sweep.spec.names()), is_sweep=True)
    assert [run.name for run in runs] == [steps[2], f"{steps[0]},recipe.cutmix=1.0", steps[1]]
