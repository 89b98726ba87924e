from dataclasses import replace

import pytest

from lit_privq.artifacts.variant import FULL_PRECISION, Bits, Variant, for_network


@pytest.mark.parametrize("method", ["none", "adaround", "obc_fast", "obc-2"])
@pytest.mark.parametrize("bits", [1, 1.58, 4, 32])
@pytest.mark.parametrize("last_bits", [None, 8, 2.5])
def test_a_name_tells_method_and_bits(method: str, bits: float, last_bits: float | None) -> None:
    name = Variant.of(method, bits if last_bits is None else {"*": bits, "last": last_bits}).name
    assert Variant.parse(name) == Variant(method, bits, bits if last_bits is None else last_bits)


@pytest.mark.parametrize("bits", [{"*": 2, "fc": 2}, {"*": 2, "last": 2}, {"fc": 8, "*": 2}, {"name": "x", "*": 2}])
def test_a_map_of_equal_bits_is_the_plain_variant(bits: dict[str, float | str]) -> None:
    assert Variant.of("obc", bits) == Variant.of("obc", 2)


def test_maps_that_quantize_differently_have_different_names() -> None:
    maps: list[dict[str, float | str]] = [
        {"*": 2, "last": 8},
        {"*": 2, "conv1": 8},
        {"*": 2, "conv1": 4},
        {"*": 2, "conv1": 8, "last": 8},
        {"*": 2, "conv1": 8, "fc": 8},
        {"*": 2, "fc": 8, "conv1": 8},  # a later pattern wins, so order counts
        {"name": "ends8", "*": 2, "conv1": 8, "last": 8},
    ]
    variants = [Variant.of("obc", bits) for bits in maps]
    assert len({variant.name for variant in variants}) == len(maps)
    assert [Variant.parse(variant.name) for variant in variants] == variants
    assert {(variant.method, variant.bits) for variant in variants} == {("obc", 2.0)}


def test_a_map_is_named_by_its_layers_alike_however_its_numbers_are_written() -> None:
    bits = {"*": 2, "layer1.*": 4.0}
    assert Variant.of("obc", bits).name == Variant.of("obc", {"*": 2.0, "layer1.*": 4}).name == "obc-2-layer1_4"


def test_last_is_the_last_layer_of_the_network_at_hand() -> None:
    assert for_network({"*": 2, "last": 8}, "head") == {"*": 2, "head": 8}
    assert for_network({"*": 2, "last": 2}, "head") == 2


@pytest.mark.parametrize("bits", [2, {"*": 1.58, "last": 8}, {"*": 2, "layer1.*": 4}])
@pytest.mark.parametrize("repeat", [0, 1, 12])
@pytest.mark.parametrize("recipe", ["", "dp_sgd", "resnet-50", "noise0.3", "2"])
def test_a_name_tells_recipe_and_repeat(bits: Bits, repeat: int, recipe: str) -> None:
    variant = replace(Variant.of("brecq", bits), recipe=recipe, repeat=repeat)
    assert Variant.parse(variant.name) == variant


def test_recipe_and_repeat_stand_behind_the_precision() -> None:
    assert Variant("brecq", 1.58, 1.58, recipe="dp_sgd", repeat=2).name == "brecq-1.58~2@dp_sgd"
    assert Variant("brecq", 1.58, 8, repeat=2).name == "brecq-1.58-last8~2"


def test_a_variant_is_made_from_the_full_precision_of_its_recipe() -> None:
    assert Variant.parse("brecq-1.58~2@dp_sgd").parent == Variant.parse("none-32@dp_sgd")
    assert Variant.parse("brecq-1.58~2").parent == FULL_PRECISION


OTHERS = ["adaround", "adaround-", "adaround-x", "-4", "adaround-4-last", "adaround-4/..", ""]
STRANGE = [
    "obc-2~0",
    "obc-2~",
    "obc-2~x",
    "obc-2@",
    "obc-2@a/b",
    "obc-2@..",
    "obc-2@a@b",
    "obc-2@a~1",
    "o@b-2",
    "o~1-2",
]


@pytest.mark.parametrize("name", [*OTHERS, *STRANGE])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="<method>-<bits>"):
        Variant.parse(name)
