"""What runs leave: checkpoints, confidences, audits, indicators, W&B runs. Named by configs, imported nowhere else."""

from callbacks.checkpoints import WriteCheckpoints
from callbacks.dump_logits import DumpLogits
from callbacks.membership_audit import MembershipAudit
from callbacks.mis_indicator import MisIndicator
from callbacks.scores import MembershipScores
from callbacks.threshold_attack import ThresholdAttack
from callbacks.wandb_runs import WandbRuns

__all__ = [
    "DumpLogits",
    "MembershipAudit",
    "MembershipScores",
    "MisIndicator",
    "ThresholdAttack",
    "WandbRuns",
    "WriteCheckpoints",
]
