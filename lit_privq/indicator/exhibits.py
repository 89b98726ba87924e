"""The paper's exhibits from stored runs: which arrays go into which figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lit_privq.indicator.claims import SIZES, grouped, mean_spearman
from lit_privq.indicator.estimate import SUBSET_SIZES
from lit_privq.indicator.figures import Cloud, draw_clouds, draw_lambdas, draw_maps, draw_stability, draw_truth, save
from lit_privq.indicator.problems import FiniteTruth
from lit_privq.indicator.quantizers import compared_quantizers
from lit_privq.indicator.runs import StoredRuns
from lit_privq.indicator.stability import Stability, rank_stability

Array = NDArray[np.float64]

RATE = "indicator r, higher is more private"


def draw_exhibits(runs: Sequence[StoredRuns], truth: FiniteTruth | None, folder: Path) -> None:
    """Draw exhibits 1 to 5 and lambda_k into a folder, as PNG and SVG.

    Args:
        runs: stored experiments.
        truth: the finite problems, if they were solved.
        folder: of the figures.
    """
    save(draw_maps(*_maps()), folder / "5_quantizers")
    for group, (first, *_) in grouped([one for one in runs if one.synthetic]).items():
        save(_stability(group, first), folder / f"1_stability_{group}")
        save(draw_lambdas(f"{group}: one run", _lambdas(first)), folder / f"lambda_{group}")
    if truth is not None:
        save(draw_truth(truth.quantizers, truth.r, _known(truth)), folder / "2_brute_force")
    for name, chosen in (("synthetic", True), ("molecules", False)):
        clouds = [_against_lira(one) for one in runs if one.synthetic == chosen]
        if clouds:
            save(draw_clouds(clouds, RATE, "1 - LiRA advantage"), folder / f"2_lira_{name}")
    for number, kind in ((3, "classification"), (4, "regression")):
        clouds = [_against_performance(one) for one in runs if one.meta["kind"] == kind]
        if clouds:
            save(draw_clouds(clouds, RATE, "performance kept"), folder / f"{number}_{kind}")


def _stability(title: str, one: StoredRuns) -> Figure:
    runs = one.r.shape[1]
    stable = rank_stability(one.r, [size for size in SIZES if size < runs])
    lira = [size for size in SUBSET_SIZES if size < runs], one.stability_of_lira()
    return draw_stability(f"{title}, {runs} runs: {_settled(stable, lira)}", one.quantizers, stable, lira)


def _settled(stable: Stability, lira: tuple[Sequence[int], Array]) -> str:
    """The rank correlation with all runs that the indicator reaches, and LiRA with the fewest runs."""
    said = f"ranks by {stable.sizes[-1]} correlate {np.median(stable.spearman[-1]):.2f} with those by all"
    sizes, correlation = lira
    return f"{said}, LiRA's by {sizes[0]} {np.median(correlation[0]):.2f}" if correlation.size else said


def _against_lira(one: StoredRuns) -> Cloud:
    rho = one.agreement_with_lira()["r"]
    low, middle, high = one.r_quartiles
    return Cloud(f"{one.name}   ρ = {rho:.2f}", one.quantizers, middle, 1 - one.advantage, np.stack([low, high]))


def _against_performance(one: StoredRuns) -> Cloud:
    low, middle, high = one.r_quartiles
    return Cloud(
        f"{one.name}   {one.meta['metric']}", one.quantizers, middle, one.kept_performance, np.stack([low, high])
    )


def _known(truth: FiniteTruth) -> dict[str, Array]:
    """Both algorithms' 1 - MIS, by a title that holds their rank correlation with r."""
    panels = {"risk minimisation": truth.risk, "rounding after training": truth.rounding}
    return {f"{name}   mean ρ = {mean_spearman(truth.r, -lost):.2f}": lost for name, lost in panels.items()}


def _maps() -> tuple[Array, dict[str, Array]]:
    weights = torch.linspace(-1, 1, 401)
    row = weights.view(1, 1, -1)
    values = {}
    for name, quantizer in compared_quantizers().items():
        frozen = quantizer.freeze(row)
        values[name] = frozen.weights(frozen.codes(row)).flatten().double().numpy()
    return weights.double().numpy(), values


def _lambdas(one: StoredRuns) -> dict[str, Array]:
    """lambda_k of the first run with competitors, nearest competitor first."""
    found = {}
    for row, name in enumerate(one.quantizers):
        competing = np.flatnonzero(np.isfinite(one.r[row]))
        if len(competing):
            gaps, values = one.gap_mean[row, competing[0]], one.gaps.lambdas[row, competing[0]]
            order = gaps.argsort()[: np.isfinite(gaps).sum()]
            found[name] = values[order]
    return found
