from lit_privq.artifacts.variant import FULL_PRECISION, Variant
from lit_privq.report.words import Titles, capitalized, measure


def test_an_attack_and_a_method_of_one_name_share_no_title() -> None:
    titles = Titles({"base": "Base quantizer"}, {"base": "BASE"})
    assert (titles.attack("base"), titles.method("base")) == ("BASE", "Base quantizer")


def test_a_title_for_one_kind_is_none_for_another() -> None:
    titles = Titles(attacks={"base": "BASE"})
    assert titles.label(Variant("base", 2, 2)) == "base 2\N{NO-BREAK SPACE}bits"
    assert titles.label(FULL_PRECISION) == "Full precision"


def test_a_capital_letter_leaves_acronyms_alone() -> None:
    assert capitalized(measure(0.01)) == "TPR at 1\N{NO-BREAK SPACE}% FPR"
