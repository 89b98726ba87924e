"""Membership inference attacks on confidences: NumPy and SciPy only."""

from lit_privq.attacks.attack import Attack
from lit_privq.attacks.confidence import logit_confidence
from lit_privq.attacks.design import score_held_out, score_leave_one_out
from lit_privq.attacks.lira import (
    LiRAOffline,
    LiRAOfflineOneSided,
    LiRAOnline,
    PerExample,
    Pooled,
    PooledSeparate,
    Residual,
    Shrunk,
    ShrunkStudent,
    Variance,
)
from lit_privq.attacks.observed import Observed
from lit_privq.attacks.paired import Paired
from lit_privq.attacks.presets import paired, reference, standard
from lit_privq.attacks.rmia import BASE, RMIAOffline, RMIAOnline, population_share
from lit_privq.attacks.threshold import Threshold

__all__ = [
    "BASE",
    "Attack",
    "LiRAOffline",
    "LiRAOfflineOneSided",
    "LiRAOnline",
    "Observed",
    "Paired",
    "PerExample",
    "Pooled",
    "PooledSeparate",
    "RMIAOffline",
    "RMIAOnline",
    "Residual",
    "Shrunk",
    "ShrunkStudent",
    "Threshold",
    "Variance",
    "logit_confidence",
    "paired",
    "population_share",
    "reference",
    "score_held_out",
    "score_leave_one_out",
    "standard",
]
