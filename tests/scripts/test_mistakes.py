"""A mistyped command ends with one line that names the mistake and the way out, and prints nothing else."""

from pathlib import Path

import pytest
from fixture_types import Call

PUBLISHED = Path(__file__).parents[2] / "results/cifar10-stride4"


# From the library's import.
@pytest.mark.filterwarnings("ignore:Pydantic V1 style:DeprecationWarning")
@pytest.mark.parametrize(
    ("command", "words", "part"),
    [
        ("attribute", "PUBLISHED --axes norm,stm", "--axes=stm: there is no stm. Did you mean stem?"),
        ("attribute", "PUBLISHED --axes norm --step step12", "there is no step12. Allowed: step0_resnet, "),
        ("attribute", "PLACE/nowhere", "no such folder"),
        ("compare", "PUBLISHED PUBLISHED/../nowhere", "nowhere: no such folder; experiments in"),
        ("plot", "cifar10-strid4 --output-dir PUBLISHED/..", "no such folder; experiments in"),
        ("plan", "-m +roadmap=step99", "roadmap=step99: there is no such choice"),
        ("plan", "-m +sweep=leave_one", "sweep=leave_one: there is no such choice. Did you mean leave_one_out?"),
        ("plan", "seed=0,1", "seed=0,1 names several values"),
        ("plan", "recipe.total_batch=2048 output_dir=PLACE", "2048 images is more than the 1433 training images"),
        ("plan", "+roadmap=step0_resnet --json /dev/null/plan.json output_dir=PLACE", "/dev/null/plan.json"),
        ("profile", "--steps step99", "roadmap=step99: there is no such choice"),
        ("profile", "recipe.mixup=0.8 --batch 3 --steps step0_resnet", "can't be odd: 3 images"),
        ("profile", "--steps step0_resnet --csv /dev/null/profile.csv", "/dev/null/profile.csv"),
        ("show", "step5", "Allowed: original, step0_resnet, step1_stage_ratio, step2_patchify, "),
        ("show", "step5_inverted model.kernel_size=4", "model.kernel_size=4: must be odd"),
        ("show", "step12_downsample data=digits data.stem_stride=4", "would see 4, 2, 1, 0 pixels"),
        ("show", "step5_inverted +reference=swin_tiny", "a network beside it: choose one of them"),
        ("show", "step1_stage_ratio step2_patchify step3_depthwise", "one step to show, or two to compare"),
        ("wandb_dashboard", "trial --print", "trial: not a project on W&B; name it as ENTITY/PROJECT"),
        ("wandb_dashboard", "https://wandb.ai/team/trial --print", "name it as ENTITY/PROJECT, such as my-team/"),
        ("wandb_dashboard", "team/trial --print --experiment lr=1", "a name with = cannot be filtered by; leave"),
        ("wandb_dashboard", "team/trial --print --experiment it's", "a name with ' cannot be filtered by; leave"),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, call: Call, command: str, words: str, part: str) -> None:
    words = words.replace("PUBLISHED", str(PUBLISHED)).replace("PLACE", str(tmp_path))
    printed = call(command, *words.split(), status=1)
    assert printed.out == ""
    *progress, line = printed.err.splitlines()
    assert not progress or command == "profile"
    assert line.startswith("error: ")
    assert part in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("command", "words", "part"),
    [
        ("check", "trial --tolerance -1", "-1: points of top-1"),
        ("compare", "lr1e-3 lr4e-3 --transfer", "--transfer draws a figure; name its folder by --to"),
        ("compare", "lr1e-3 lr4e-3 --against lr4e-3 lr1e-3", "--against compares gaps; name their networks by"),
        ("compare", "lr1e-3 lr4e-3 --std nan --dof 52", "argument --std: nan: must be above 0"),
        ("compare", "lr1e-3 lr4e-3 --std -1 --dof 52", "argument --std: -1: must be above 0"),
        ("compare", "lr1e-3 lr4e-3 --std 0.83", "--std and --dof belong together"),
        ("compare", "lr1e-3 lr4e-3 --dof 52", "--std and --dof belong together"),
        ("plan", "--price-per-hour 0", "--price-per-hour"),
        ("plan", "--watts -1", "--watts"),
        ("plan", "--devices 0", "--devices"),
        ("shrink", "from to --quality 96", "argument --quality: 96 must be 1 to 95"),
        ("shrink", "from to --workers 0", "argument --workers: 0 must be at least 1"),
        ("shrink", "from to --short-side -1", "argument --short-side: -1 must be at least 1"),
        ("shrink", "from to --short-side x", "argument --short-side: invalid number value: 'x'"),
    ],
)
def test_an_option_that_makes_no_sense_is_named(
    call: Call, capsys: pytest.CaptureFixture[str], command: str, words: str, part: str
) -> None:
    with pytest.raises(SystemExit, match="2"):
        call(command, *words.split())
    assert part in capsys.readouterr().err
