"""The options of every method and grid: what is out of its range is refused when it is given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lit_privq.calibration import Calibration
from lit_privq.quantization.adaround import AdaRound
from lit_privq.quantization.brecq import BRECQ
from lit_privq.quantization.descent import Descent
from lit_privq.quantization.gptq import GPTQ
from lit_privq.quantization.grid import AlternatingFit, RangeSearch, RangeZeroSearch, Widened
from lit_privq.quantization.nearest import Nearest
from lit_privq.quantization.obc import OBC
from lit_privq.quantization.obc_prune import OBCPrune
from lit_privq.quantization.qat import QAT
from lit_privq.quantization.ternary import SparseTernary

INFINITY = float("inf")


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        *[
            (method, options, message)
            for method in (AdaRound, BRECQ)
            for options, message in (
                ({"iterations": 0}, "iterations must be at least 1, such as 4000; got 0"),
                ({"iterations": -1}, "iterations must be at least 1"),
                ({"lr": 0.0}, "lr must be above 0, such as 0.001; got 0.0"),
                ({"lr": float("nan")}, "lr must be above 0"),
                ({"batch_size": 0}, "batch_size must be at least 1"),
                ({"rounding_weight": -0.1}, "rounding_weight must be at least 0"),
                ({"warmup": 2.0}, r"warmup must be a fraction in \[0, 1\), such as 0.2; got 2.0"),
                ({"warmup": -0.1}, "warmup must be a fraction"),
                ({"first_exponent": 0.0}, "first_exponent must be above 0"),
                ({"last_exponent": -2.0}, "last_exponent must be above 0"),
                ({"patience": 10}, "patience needs a start, .*; got patience 10"),
                ({"patience": 0, "start": Nearest()}, "patience must be at least 1, or none; got 0"),
            )
        ],
        (BRECQ, {"linear_target": True}, "linear_target must be false, .* choose AdaRound; got True"),
        *[
            (method, {"inputs": "quantised"}, 'inputs must be "float" or "quantized"; got \'quantised\'')
            for method in (Nearest, OBC, OBCPrune, GPTQ, AdaRound, BRECQ, Descent)
        ],
        *[
            (method, {"damping": damping}, f"damping must be at least 0, such as {such_as}; got {damping}")
            for method, such_as in ((OBC, 0.001), (OBCPrune, 0.001), (GPTQ, 0.01), (Descent, 0.001))
            for damping in (-1e-3, float("nan"))
        ],
        (RangeSearch, {"candidates": 0}, "candidates must lie between 1 and 100, such as 80; got 0"),
        (RangeSearch, {"candidates": 101}, "candidates must lie between 1 and 100"),  # 1 - 100 / 100 is no range
        (RangeSearch, {"exponent": 0.0}, "exponent must be above 0"),
        (RangeZeroSearch, {"ranges": 0}, "ranges must be at least 1"),
        (RangeZeroSearch, {"narrowest": 1.6}, "widest must be above narrowest, 1.6; got 1.6"),
        (RangeZeroSearch, {"narrowest": 0.0}, "narrowest must be above 0"),
        (RangeZeroSearch, {"shifts": -1}, "shifts must be at least 0"),
        (AlternatingFit, {"rounds": -1}, "rounds must be at least 0"),
        (
            AlternatingFit,
            {"start": RangeZeroSearch(by_output=True)},
            "by_output must be true where that of start is; got False",
        ),
        (Widened, {"grid": RangeSearch(), "steps": -1.0}, "steps must be above -1, .*; got -1.0"),
        *[
            (make, options, "and finite; got inf")
            for make, options in (
                (AdaRound, {"lr": INFINITY}),
                (AdaRound, {"rounding_weight": INFINITY}),
                (BRECQ, {"first_exponent": INFINITY}),
                (OBC, {"damping": INFINITY}),
                (GPTQ, {"damping": INFINITY}),
                (RangeSearch, {"exponent": INFINITY}),
                (RangeZeroSearch, {"widest": INFINITY}),
                (Widened, {"grid": RangeSearch(), "steps": INFINITY}),
            )
        ],
        (QAT, {"first_weights": "parent"}, 'first_weights must be "trained" or "initial"; got \'parent\''),
        (QAT, {"epochs": 0}, "epochs must be at least 1, or none for all; got 0"),
        (QAT, {"rate": 0.0}, "rate must be above 0, such as 0.1; got 0.0"),
        (QAT, {"epochs": None}, "rate must be 1 where epochs is none, .*; got 0.1"),
        (QAT, {"grid": RangeSearch(by_output=True)}, "grid must be chosen by weights alone, by_output false"),
        (SparseTernary, {"sparsity": 1.0}, r"sparsity must be a fraction in \[0, 1\), such as 0.5; got 1.0"),
        (Descent, {"grids": ()}, "grids must name at least one grid to start from; got none"),
        (Descent, {"rounds": 0}, "rounds must be at least 1, such as 32; got 0"),
        (Descent, {"sweeps": 0}, "sweeps must be at least 1"),
        (Descent, {"pair_sweeps": -1}, "pair_sweeps must be at least 0"),
        *[
            (Calibration, {"checkpoint": "X.ckpt", "method": Nearest(), "bits": 2, **options}, message)
            for options, message in (
                ({"batch_size": 0}, "batch_size must be at least 1"),
                ({"batch_norm_batches": -1}, "batch_norm_batches must be at least 0"),
                ({"batch_norm_momentum": 0.0}, r"batch_norm_momentum must be a fraction in \(0, 1\]"),
            )
        ],
    ],
)
def test_an_option_out_of_its_range_is_refused_when_it_is_given(
    make: Callable[..., object], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make(**options)
