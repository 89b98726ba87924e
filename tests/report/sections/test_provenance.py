import json

from lit_privq.report.sections.provenance import provenance


def test_nothing_known_is_nothing_said() -> None:
    found = provenance({})
    assert (found.command, found.facts, found.stages, found.rest) == ("", (), (), "")


def test_known_keys_come_in_reading_order_and_unknown_ones_are_kept() -> None:
    found = provenance({"split_seed": 0, "commit": "abc", "versions": {"torch": "2.9"}, "engine": {"name": "local"}})
    assert found.facts == (("Commit", "abc"), ("Membership seed", "0"), ("Versions", "torch 2.9"))
    assert json.loads(found.rest) == {"engine": {"name": "local"}}


def test_the_longest_stage_fills_its_bar() -> None:
    stages = provenance({"seconds": {"shadow": 40, "query": 10.0, "odd": "long"}}).stages
    assert [(stage.name, stage.share) for stage in stages] == [("shadow", 100), ("query", 25)]


def test_seeds_are_found_where_the_study_asked_for_them() -> None:
    assert provenance({"study": {"seed": 3, "split_seed": None}}).facts == (("Training seed", "3"),)


def test_nested_choices_are_one_line() -> None:
    found = provenance({"choices": {"fleet": {"shadow": 10, "adaround": 20}, "jobs": 2}})
    assert found.facts == (("Chosen by measurement", "fleet (shadow 10, adaround 20), jobs 2"),)


def test_what_the_page_uses_elsewhere_is_not_told_twice() -> None:
    assert provenance({"titles": {"obc": "OBC"}, "seconds": {"train": 3.0}}).rest == ""
