from dataclasses import replace

from lit_privq.report.inputs import Inputs
from lit_privq.report.sections.tradeoff import section
from lit_privq.report.view import View


def test_models_that_only_guess_are_named(seen: View) -> None:
    focus = replace(seen.focus, guessing=("nearest-2", "nearest-1.58"))
    found = section(replace(seen, measures=replace(seen.measures, focus=focus)), Inputs())
    assert found is not None
    assert found.values["guessing"].replace("\xa0", " ") == "Nearest 2 bits and Nearest 1.58 bits"


def test_nobody_is_named_where_all_do_more(seen: View) -> None:
    found = section(seen, Inputs())
    assert found is not None
    assert found.values["guessing"] == ""
    assert found.values["mixed"]
    assert found.values["hold"] == (
        "full-precision shadow models (unaware), shadow models quantized as the target was (adaptive)"
    )
