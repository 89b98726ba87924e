"""What a run leaves behind: checkpoints, confidences, audits, W&B runs. Named by configs, imported by nothing else."""

from callbacks.checkpoints import WriteCheckpoints
from callbacks.dump_logits import DumpLogits
from callbacks.membership_audit import MembershipAudit
from callbacks.wandb_runs import WandbRuns

__all__ = ["DumpLogits", "MembershipAudit", "WandbRuns", "WriteCheckpoints"]
