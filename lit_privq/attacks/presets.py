"""The sets of attacks that studies report, by name."""

from __future__ import annotations

from lit_privq.attacks.attack import Attack
from lit_privq.attacks.joint import LiRAJoint
from lit_privq.attacks.lira import (
    LiRAOffline,
    LiRAOfflineOneSided,
    LiRAOnline,
    LiRAOnlineAligned,
    PerExample,
    Pooled,
    Shrunk,
    ShrunkStudent,
)
from lit_privq.attacks.proxy import LiRAOfflineProxy
from lit_privq.attacks.rmia import BASE, RMIAOffline, RMIAOnline
from lit_privq.attacks.threshold import Threshold


def standard() -> dict[str, Attack]:
    """The attacks of a study, the paper's pair first; ``fixed`` is the residual variance about the median.

    The paper's pair (LiRA online and offline, fixed variance) takes :class:`~lit_privq.attacks.Residual`, whose weight
    of a single example is bounded, and not the reference's variance of all values, which one absurd confidence can make
    up: see :func:`reference` for that one.
    """
    return {
        "lira_online_fixed": LiRAOnline(),
        "lira_offline_fixed": LiRAOffline(),
        "lira_online": LiRAOnline(variance=PerExample()),
        "lira_offline": LiRAOffline(variance=PerExample()),
        "lira_offline_onesided": LiRAOfflineOneSided(variance=PerExample()),
        "lira_offline_onesided_fixed": LiRAOfflineOneSided(),
        "lira_offline_onesided_shrunk": LiRAOfflineOneSided(variance=Shrunk()),
        "lira_offline_onesided_student": LiRAOfflineOneSided(variance=ShrunkStudent()),
        "lira_online_shrunk": LiRAOnline(variance=Shrunk()),
        "lira_online_student": LiRAOnline(variance=ShrunkStudent()),
        "lira_online_fixed_aligned": LiRAOnlineAligned(),
        "rmia_online": RMIAOnline(),
        "rmia_offline": RMIAOffline(),
        "base": BASE(),
        "threshold": Threshold(),
    }


def proxies() -> dict[str, Attack]:
    """Attacks that need the classes of the examples, which arrays of confidences may lack."""
    return {"lira_offline_proxy": LiRAOfflineProxy(variance=Shrunk())}


def paired() -> dict[str, Attack]:
    """The attacks of an attacker who also holds each model's parent, from which it was derived."""
    return {"lira_online_fixed": LiRAJoint(), "lira_online_shrunk": LiRAJoint(variance=Shrunk())}


def family() -> dict[str, Attack]:
    """The attacks of an attacker who holds several versions that were derived from one parent."""
    return {"lira_online_shrunk": LiRAJoint(variance=Shrunk())}


def reference() -> dict[str, Attack]:
    """The five attacks of tensorflow/privacy's ``research/mi_lira_2021``, with exactly its choices.

    Median centre, population deviation; offline as density; fixed variance pooled over the values of all examples, of
    the IN group online, of the OUT group offline. It also cuts the groups of held-out targets, an option of the design:
    ``score_held_out(reference(), ..., equal_groups=True)``.
    """
    return {
        "lira_online": LiRAOnline(variance=PerExample()),
        "lira_online_fixed": LiRAOnline(variance=Pooled()),
        "lira_offline": LiRAOffline(variance=PerExample()),
        "lira_offline_fixed": LiRAOffline(variance=Pooled()),
        "threshold": Threshold(),
    }
