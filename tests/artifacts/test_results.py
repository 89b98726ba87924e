import csv
from collections.abc import Callable
from math import nan
from pathlib import Path

import pytest

from lit_privq.artifacts.results import Result, gather, read_results, write_results
from lit_privq.artifacts.variant import Variant

Write = Callable[..., Path]


def test_values_come_back_by_target(write_results: Write) -> None:
    path = write_results(
        {"target": 16, "metric": "accuracy", "value": 0.9}, {"target": 17, "metric": "accuracy", "value": 0.8}
    )
    assert read_results(path).values(Variant("none", 32, 32), "accuracy") == {16: 0.9, 17: 0.8}


def test_an_empty_value_is_not_a_value(write_results: Write) -> None:
    results = read_results(write_results({"attacker": "unaware", "attack": "a", "metric": "tpr_at_0.001"}))
    assert results.values(Variant("none", 32, 32), "tpr_at_0.001", "unaware", "a") == {}
    assert results.metrics == ("tpr_at_0.001",)


def test_full_precision_comes_first_then_methods_from_most_bits_to_least(write_results: Write) -> None:
    rows = [("obc", 2, 2), ("obc", 1.58, 8), ("none", 32, 32), ("nearest", 1, 1), ("obc", 1.58, 1.58)]
    path = write_results(
        *({"method": m, "bits": b, "last_bits": last, "metric": "accuracy", "value": 0.5} for m, b, last in rows)
    )
    names = [variant.name for variant in read_results(path).variants]
    assert names == ["none-32", "obc-2", "obc-1.58", "obc-1.58-last8", "nearest-1"]


def test_a_missing_file_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="run `audit` first"):
        read_results(tmp_path / "results.csv")


def test_missing_columns_are_named(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    path.write_text("dataset,net,target,method,bits,last_bits,attacker,attack\n")
    with pytest.raises(ValueError, match="missing: metric, value"):
        read_results(path)


def test_a_file_cut_short_names_the_line(write_results: Write) -> None:
    path = write_results(*({"target": target, "metric": "accuracy", "value": 0.9} for target in range(4)))
    path.write_text(path.read_text().rsplit(",", 6)[0])
    with pytest.raises(ValueError, match=r"damaged: line 5 has \d+ fields, the header 18"):
        read_results(path)


def test_a_file_of_an_earlier_version_has_neither_intervals_nor_rates(write_results: Write) -> None:
    path = write_results({"metric": "accuracy", "value": 0.9})
    path.write_text("\n".join(line.rsplit(",", 3)[0] for line in path.read_text().splitlines()))
    assert read_results(path).values(Variant("none", 32, 32), "accuracy") == {16: 0.9}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    full = Variant("none", 32.0, 32.0)
    rows = [
        Result("digits", "small", full, 16, "", "", "accuracy", 0.9),
        Result("digits", "small", full, 16, "unaware", "lira", "tpr_at_0.01", 0.1, 0.05, 0.2, 0.008),
        Result("digits", "small", full, 16, "unaware", "lira", "tpr_at_0.001", nan),
    ]
    write_results(tmp_path / "results.csv", rows)
    assert repr(read_results(tmp_path / "results.csv")) == repr(gather(rows))


@pytest.mark.parametrize("content", [b"", b"\x00\x01", b"\xff\xfe\xfa", b"PK\x03\x04"])
def test_something_else_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"results\.csv must"):
        read_results(path)


@pytest.mark.parametrize(
    "row", [{"value": "high"}, {"bits": "many"}, {"target": ""}, {"value": "inf"}], ids=lambda row: next(iter(row))
)
def test_a_field_that_is_no_number_is_refused(row: dict[str, object], write_results: Write) -> None:
    with pytest.raises(ValueError, match="damaged: line 2"):
        read_results(write_results({"metric": "accuracy", "value": 0.5} | row))


def test_a_row_that_repeats_another_is_refused(write_results: Write) -> None:
    row = {"metric": "accuracy", "value": 0.5}
    with pytest.raises(ValueError, match="line 3 repeats"):
        read_results(write_results(row, row))


def test_two_data_sets_are_not_mixed(write_results: Write) -> None:
    rows = [{"dataset": name, "metric": "accuracy", "value": 0.5} for name in ("digits", "cifar10")]
    with pytest.raises(ValueError, match="digits with small and, in line 3, cifar10 with small"):
        read_results(write_results(*rows))


def test_no_rows_are_refused(write_results: Write) -> None:
    with pytest.raises(ValueError, match="no rows"):
        read_results(write_results())


def recipe_rows(*nets: str) -> list[Result]:
    """A row of the first recipe, one of another, one of what was made of that, and a repeat."""
    names = ("none-32", "none-32@dp_sgd", "obc-2-last8@dp_sgd", "obc-2~1")
    return [
        Result("digits", net, Variant.parse(name), 16, "", "", "accuracy", 0.9)
        for name, net in zip(names, nets or ("small", "large", "large", "small"), strict=True)
    ]


def test_recipe_and_repeat_are_written_and_read_again_and_the_first_recipe_by_its_name(tmp_path: Path) -> None:
    write_results(tmp_path / "results.csv", recipe_rows(), "plain")
    with (tmp_path / "results.csv").open() as file:
        assert [(row["recipe"], row["repeat"]) for row in csv.DictReader(file)] == [
            ("plain", "0"), ("dp_sgd", "0"), ("dp_sgd", "0"), ("plain", "1"),
        ]  # fmt: skip
    found = read_results(tmp_path / "results.csv")
    assert [v.name for v in found.variants] == ["none-32", "none-32@dp_sgd", "obc-2-last8@dp_sgd"]
    assert [v.name for v in found.repeats] == ["obc-2~1"]
    assert (found.first_recipe, found.recipes, found.net) == ("plain", ("", "dp_sgd"), "small, large")
    assert found == gather(recipe_rows(), "plain")


def test_two_networks_in_one_recipe_are_refused(tmp_path: Path) -> None:
    write_results(tmp_path / "results.csv", recipe_rows("small", "large", "small", "small"))
    with pytest.raises(ValueError, match="one network for each recipe; got digits with large and, in line 4, digits"):
        read_results(tmp_path / "results.csv")
