"""The help of `train.py` gives a meaning for every key that a user sets."""

from roadmap.cli.train_help import help_lines
from roadmap.config import compose
from roadmap.config.field_docs import document_keys
from roadmap.config.schema import Config
from roadmap.config.sweep import SPECS

CHOSEN_BY_GROUPS = ("step.", "model.", "regime.")


def test_each_key_that_a_user_sets_has_a_meaning() -> None:
    docs = [*document_keys(Config), *(doc for spec in SPECS.values() for doc in document_keys(spec, "sweep."))]
    silent = {doc.key for doc in docs if not doc.meaning or doc.meaning.startswith("one of ")}
    assert {key for key in silent if not key.startswith(CHOSEN_BY_GROUPS)} == {"sweep.kind"}


def test_a_meaning_is_the_fields_comment_in_the_words_of_yaml() -> None:
    meanings = {doc.key: doc.meaning for doc in document_keys(Config)}
    assert meanings["recipe.optimizer"].endswith("; one of adamw, sgd")
    assert "; null: " in meanings["data.root"]  # on a second line of the field


def test_help_shows_the_values_of_the_command_within_80_columns() -> None:
    lines = list(help_lines(compose("data=imagefolder", "recipe=paper")))
    assert max(map(len, lines)) <= 80
    assert [line for line in lines if line.startswith("recipe.epochs=300 ")]
    assert [line for line in lines if line.startswith("data.root ")]  # no value yet
