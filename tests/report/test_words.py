from lit_privq.artifacts.variant import FULL_PRECISION, Variant
from lit_privq.report.words import POINTS, Titles, capitalized, measure, percent, ranged


def test_an_attack_and_a_method_of_one_name_share_no_title() -> None:
    titles = Titles({"base": "Base quantizer"}, {"base": "BASE"})
    assert (titles.attack("base"), titles.method("base")) == ("BASE", "Base quantizer")


def test_a_title_for_one_kind_is_none_for_another() -> None:
    titles = Titles(attacks={"base": "BASE"})
    assert titles.label(Variant("base", 2, 2)) == "base 2\N{NO-BREAK SPACE}bits"
    assert titles.label(FULL_PRECISION) == "Full precision"


def test_a_capital_letter_leaves_acronyms_alone() -> None:
    assert capitalized(measure(0.01)) == "TPR at 1\N{NO-BREAK SPACE}% FPR"


def test_a_recipe_stands_before_what_it_is_about_and_the_baseline_nowhere() -> None:
    titles = Titles({"obc": "OBC"}, recipes={"": "", "dp": "DP-SGD"})
    names = ("none-32", "obc-2", "none-32@dp", "obc-2@dp", "none-32@not_titled")
    assert [titles.label(Variant.parse(name)).replace("\xa0", " ") for name in names] == [
        "Full precision", "OBC 2 bits", "DP-SGD, full precision", "DP-SGD, OBC 2 bits", "Not titled, full precision",
    ]  # fmt: skip
    networks = Titles(recipes={"": "ResNet-18"})
    assert networks.label(Variant.parse("none-32")) == "ResNet-18, full precision"


def test_what_is_rounded_to_zero_has_no_sign() -> None:
    tiny = -0.0001
    written = [POINTS.signed(tiny), POINTS.signed(-tiny), POINTS.size(tiny), percent(tiny), ranged(tiny, tiny)]
    assert written == ["0.0", "0.0", "0.0", "0.0\N{NO-BREAK SPACE}%", "0.0 to 0.0\N{NO-BREAK SPACE}%"]
