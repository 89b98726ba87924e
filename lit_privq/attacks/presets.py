"""Attacks under the names by which studies report them."""

from __future__ import annotations

from lit_privq.attacks.attack import Attack
from lit_privq.attacks.base import Base
from lit_privq.attacks.lira import (
    LiraOffline,
    LiraOfflineOneSided,
    LiraOnline,
    PerExample,
    Pooled,
    Shrunk,
    ShrunkStudent,
)
from lit_privq.attacks.paired import Paired
from lit_privq.attacks.rmia import RmiaOffline, RmiaOnline
from lit_privq.attacks.threshold import Threshold


def standard() -> dict[str, Attack]:
    """The attacks of a study, the paper's pair first; ``fixed`` is the residual variance about the median."""
    return {
        "lira_online_fixed": LiraOnline(),
        "lira_offline_fixed": LiraOffline(),
        "lira_online": LiraOnline(variance=PerExample()),
        "lira_offline": LiraOffline(variance=PerExample()),
        "lira_offline_onesided": LiraOfflineOneSided(variance=PerExample()),
        "lira_offline_onesided_fixed": LiraOfflineOneSided(),
        "lira_online_shrunk": LiraOnline(variance=Shrunk()),
        "lira_online_student": LiraOnline(variance=ShrunkStudent()),
        "rmia_online": RmiaOnline(),
        "rmia_offline": RmiaOffline(),
        "base": Base(),
        "threshold": Threshold(),
    }


def paired() -> dict[str, Attack]:
    """The attacks of an attacker who also holds the full-precision parent."""
    return {"lira_online_fixed": Paired(), "lira_online_shrunk": Paired(variance=Shrunk())}


def reference() -> dict[str, Attack]:
    """The five attacks of tensorflow/privacy's ``research/mi_lira_2021``, with exactly its choices.

    Median centre, population deviation; offline as density; fixed variance pooled over the values of all examples, of
    the IN group online, of the OUT group offline. It also cuts the groups of held-out targets, an option of the design:
    ``held_out(reference(), ..., equal_groups=True)``.
    """
    return {
        "lira_online": LiraOnline(variance=PerExample()),
        "lira_online_fixed": LiraOnline(variance=Pooled()),
        "lira_offline": LiraOffline(variance=PerExample()),
        "lira_offline_fixed": LiraOffline(variance=Pooled()),
        "threshold": Threshold(),
    }
