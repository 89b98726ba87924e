from collections.abc import Callable

from lit_privq.report.table import attackers
from lit_privq.report.view import View


def test_attackers_come_once_in_the_order_of_the_file(write_view: Callable[..., View]) -> None:
    cell = {"metric": "tpr_at_0.01", "value": 0.1}
    rows = [
        {"metric": "accuracy", "value": 0.9},
        *(cell | {"attacker": who, "attack": how} for who in ("unaware", "adaptive") for how in ("lira", "threshold")),
    ]
    assert attackers(write_view(*rows).results) == ("unaware", "adaptive")
