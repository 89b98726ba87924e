from .checkpoints import WriteCheckpoints as WriteCheckpoints
from .dump_logits import DumpLogits as DumpLogits
from .membership_audit import MembershipAudit as MembershipAudit
from .mis_indicator import MisIndicator as MisIndicator
from .quantized_utility import QuantizedUtility as QuantizedUtility
from .scores import MembershipScores as MembershipScores
from .threshold_attack import ThresholdAttack as ThresholdAttack
from .wandb_runs import WandbRuns as WandbRuns
