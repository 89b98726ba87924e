from lit_privq.report.inputs import Inputs
from lit_privq.report.sections.leakage import section
from lit_privq.report.view import View


def test_the_headlines_attack_and_utility_come_first_and_other_attacks_are_folded(seen: View) -> None:
    found = section(seen, Inputs())
    assert found.values["first"] == ["leakage_lira_online_fixed", "accuracy"]
    assert found.values["others"] == ["leakage_lira_offline_fixed"]
    assert [drawing.name for drawing in found.drawings] == found.values["first"] + found.values["others"]
