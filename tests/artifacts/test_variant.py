import pytest

from lit_privq.artifacts.variant import Variant, for_network


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


@pytest.mark.parametrize("name", ["adaround", "adaround-", "adaround-x", "-4", "adaround-4-last", "adaround-4/..", ""])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="<method>-<bits>"):
        Variant.parse(name)
