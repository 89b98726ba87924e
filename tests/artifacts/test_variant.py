import pytest

from lit_privq.artifacts.variant import Variant


@pytest.mark.parametrize("method", ["none", "adaround", "obc_fast", "obc-2"])
@pytest.mark.parametrize("bits", [1, 1.58, 4, 32])
@pytest.mark.parametrize("last_bits", [None, 8, 2.5])
def test_a_name_tells_method_and_bits(method: str, bits: float, last_bits: float | None) -> None:
    name = Variant.of(method, bits if last_bits is None else {"*": bits, "fc": last_bits}).name
    assert Variant.parse(name) == Variant(method, bits, bits if last_bits is None else last_bits)


@pytest.mark.parametrize("last", ["fc", "classifier", "*.fc", "head"])
def test_the_decoupled_model_is_named_alike_in_every_network(last: str) -> None:
    assert Variant.of("adaround", {"*": 1.58, last: 8}).name == "adaround-1.58-last8"


def test_maps_that_quantize_differently_have_different_names() -> None:
    maps: list[dict[str, float]] = [
        {"*": 2, "conv1": 8},
        {"*": 2, "conv1": 4},
        {"*": 2, "conv1": 8, "fc": 8},
        {"*": 2, "fc": 8, "conv1": 8},  # a later pattern wins, so order counts
        {"fc": 8, "*": 2},
    ]
    names = {Variant.of("obc", bits).name for bits in maps}
    assert len(names) == len(maps)
    parsed = [Variant.parse(name) for name in names]
    assert {(each.bits, each.last_bits) for each in parsed} == {(2.0, 2.0)}
    assert len({each.method for each in parsed}) == len(maps)


def test_a_general_map_is_named_the_same_every_time() -> None:
    bits = {"*": 2, "layer1.*": 4.0}
    assert Variant.of("obc", bits).name == Variant.of("obc", {"*": 2.0, "layer1.*": 4}).name == "obc-mapac67c0-2"


@pytest.mark.parametrize("name", ["adaround", "adaround-", "adaround-x", "-4", "adaround-4-last", "adaround-4/..", ""])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="<method>-<bits>"):
        Variant.parse(name)
