from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from lit_privq.artifacts.results import Key, Results
from lit_privq.artifacts.variant import Variant
from lit_privq.plot.style import COLOURS, INK, MARKERS, PUBLISHED, RC, VARIABLES, looks

METHODS = (("none", 32), ("obc", 2), ("nearest", 2))
PLAIN = Variant("none", 32, 32)


def results(*methods: str) -> Results:
    variants = [PLAIN, *(Variant(method, 2, 2) for method in methods)]
    return Results("digits", {"": "net"}, {Key(variant, "accuracy"): {} for variant in variants})


def test_methods_differ_in_colour_and_in_marker_and_full_precision_is_ink() -> None:
    found = looks(results("a", "b", "c"))
    assert found["none"].colour == INK
    quantized = [found[name] for name in ("a", "b", "c")]
    assert len({look.colour for look in quantized}) == len({look.marker for look in quantized}) == 3


def test_more_methods_than_colours_begin_again_with_another_marker_and_line() -> None:
    names = [f"method{number}" for number in range(len(MARKERS))]
    found = looks(results(*names))
    first, again = found[names[0]], found[names[len(COLOURS)]]
    assert first.colour == again.colour == COLOURS[0]
    assert first.line != again.line
    assert len({found[name].marker for name in names}) == len(names)


def test_a_published_method_looks_alike_whatever_stands_before_it_on_the_page() -> None:
    alone, after = looks(results("obc")), looks(results("mine", "descent", "other"), results("obc", "mine"))
    assert alone["obc"] == after["obc"]
    assert len({(look.colour, look.marker) for look in after.values()}) == len(after) == 5


def test_a_published_method_keeps_its_colour_under_every_recipe() -> None:
    recipes = ("", "resnet50", "densenet121")
    variants = [Variant(method, bits, bits, recipe=recipe) for recipe in recipes for method, bits in METHODS]
    found = looks(Results("digits", dict.fromkeys(recipes, "net"), {Key(v, "accuracy"): {} for v in variants}))
    for method in ("obc", "nearest"):
        same = [look for group, look in found.items() if group.partition("@")[0] == method]
        assert {look.colour for look in same} == {looks(results(method))[method].colour}
        assert len({look.marker for look in same}) == 3


def test_the_first_published_methods_differ_in_colour_and_no_two_look_alike() -> None:
    found = looks(results(*PUBLISHED))
    assert len({found[name].colour for name in PUBLISHED[: len(COLOURS)]}) == len(COLOURS)
    assert len({(found[name].colour, found[name].marker) for name in PUBLISHED}) == len(PUBLISHED)


def test_every_published_method_is_one_of_the_configs() -> None:
    configs = Path(__file__).parents[2] / "configs" / "ptq"
    assert set(PUBLISHED) <= {path.stem for path in configs.glob("*.yaml")}


def test_every_colour_of_a_figure_has_its_variable_on_the_page(tmp_path: Path) -> None:
    with matplotlib.rc_context(RC):
        figure = Figure()
        figure.add_subplot().plot([0, 1], [0, 1], color=COLOURS[0])
        figure.savefig(tmp_path / "a.svg")
    page = (Path(__file__).parents[2] / "lit_privq" / "report" / "page.css").read_text(encoding="utf-8")
    drawn = (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert COLOURS[0] in drawn
    assert all(page.count(f"{variable}:") == 2 for variable in VARIABLES.values())  # light and dark


def test_recipes_and_their_methods_have_looks_of_their_own_beyond_the_sixth() -> None:
    recipes = ("", "smooth", "dp_sgd", "narrow")
    variants = [Variant(method, bits, bits, recipe=recipe) for recipe in recipes for method, bits in METHODS]
    found = looks(Results("digits", dict.fromkeys(recipes, "net"), {Key(v, "accuracy"): {} for v in variants}))
    assert len({(look.colour, look.marker) for look in found.values()}) == len(found) == 4 * 3
    assert [group for group, look in found.items() if look.colour == INK] == ["none"]
