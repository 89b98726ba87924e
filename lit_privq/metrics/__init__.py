"""Metrics of membership inference on scores: NumPy and SciPy only."""

from lit_privq.metrics.bootstrap import Resamples, bootstrap, interval, resample
from lit_privq.metrics.delong import Placements, placements
from lit_privq.metrics.epsilon import Bonferroni, Fixed, Point, Split, clopper_pearson, epsilon_lower_bound
from lit_privq.metrics.influence import Influence, auc_influence, balanced_accuracy_influence, slope_at, tpr_influence
from lit_privq.metrics.log_auroc import log_auroc, mean_log_aurocs, semilog_auroc
from lit_privq.metrics.one_run import one_run_epsilon
from lit_privq.metrics.operating_point import OperatingPoint, operating_point, predictive_value, shadow_threshold
from lit_privq.metrics.over_targets import Difference, Estimate, difference_over_targets, holm, mean_over_targets
from lit_privq.metrics.per_example import PerExampleRates, per_example_rates
from lit_privq.metrics.placement import redrawn_log_aurocs, redrawn_tpr
from lit_privq.metrics.roc import Ranked, Roc, auc, best_balanced_accuracy, fpr_reached, ranked, roc, tpr_at_fpr
from lit_privq.metrics.trade_off import TradeOff, trade_off
from lit_privq.metrics.vulnerability import Vulnerability, made_safe, overlap, rank_correlation, vulnerability

__all__ = [
    "Bonferroni",
    "Difference",
    "Estimate",
    "Fixed",
    "Influence",
    "OperatingPoint",
    "PerExampleRates",
    "Placements",
    "Point",
    "Ranked",
    "Resamples",
    "Roc",
    "Split",
    "TradeOff",
    "Vulnerability",
    "auc",
    "auc_influence",
    "balanced_accuracy_influence",
    "best_balanced_accuracy",
    "bootstrap",
    "clopper_pearson",
    "difference_over_targets",
    "epsilon_lower_bound",
    "fpr_reached",
    "holm",
    "interval",
    "log_auroc",
    "made_safe",
    "mean_log_aurocs",
    "mean_over_targets",
    "one_run_epsilon",
    "operating_point",
    "overlap",
    "per_example_rates",
    "placements",
    "predictive_value",
    "rank_correlation",
    "ranked",
    "redrawn_log_aurocs",
    "redrawn_tpr",
    "resample",
    "roc",
    "semilog_auroc",
    "shadow_threshold",
    "slope_at",
    "tpr_at_fpr",
    "tpr_influence",
    "trade_off",
    "vulnerability",
]
