"""A name written into an override is read by Hydra as the same name, whatever it looks like."""

from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given, settings
from hypothesis import strategies as st

from roadmap.config import quote

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
