"""Learned rounding: error and cost of AdaRound and BRECQ by iterations, and from Descent's solution.

python benchmarks/learned.py [--quick] [--json FILE]

Layers of the network of quantizers.py. The block sees 512 images cropped to 4x4 at its input, so that 20,000 iterations
take minutes; the convolution has 16 rows and a linear target, whose cost does not depend on images. One thread; notes
hold the CPU seconds. The published learning rate is 1e-3. Some twenty minutes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import torch
from quantizers import block_error, layer_error, trained_layers
from rows import Row, options, show

from lit_privq.quantization.adaround import AdaRound
from lit_privq.quantization.brecq import BRECQ
from lit_privq.quantization.descent import Descent
from lit_privq.quantization.method import Method
from lit_privq.quantization.nearest import Nearest
from lit_privq.quantization.obc import OBC

FASTER = 3e-2  # learning rate of short schedules
FROM_DESCENT = 1e-2  # and from Descent's solution: at 3e-3 the gain is a third, at 3e-2 there is none


def by_iterations(name: str, method: AdaRound, quick: bool) -> dict[str, Method]:
    """The published schedule at three lengths, a short one at a higher rate, and one from Descent's solution."""
    lengths, short = ((20,), 20) if quick else ((1_000, 4_000, 20_000), 4_000)
    published: dict[str, Method] = {f"{name}, {n:,} iterations": replace(method, iterations=n) for n in lengths}
    started = replace(method, iterations=short, lr=FROM_DESCENT, start=Descent())
    return published | {
        f"{name}, {short:,} iterations, lr {FASTER:g}": replace(method, iterations=short, lr=FASTER),
        f"{name} from Descent, {short:,} iterations, lr {FROM_DESCENT:g}": started,
    }


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    choice = options(__doc__)
    layers = trained_layers(choice.quick)
    inputs = layers.draws[0].block[:, :, 2:6, 2:6].contiguous()
    others: dict[str, Method] = {"Nearest": Nearest(), "OBQ": OBC(), "Descent": Descent()}
    adaround, linear = (
        by_iterations("AdaRound", AdaRound(linear_target=is_linear), choice.quick) for is_linear in (False, True)
    )
    cases: list[tuple[str, dict[str, Method], Callable[[Method, float], float]]] = [
        (
            "block of 64 channels",
            others | adaround | by_iterations("BRECQ", BRECQ(), choice.quick),
            lambda method, bits: block_error(method, layers.block, inputs, bits),
        ),
        (
            "conv 128 to 128, 16 rows",
            others | linear,
            lambda method, bits: layer_error(method, layers.conv, layers.draws[0].conv, bits),
        ),
    ]
    rows = []
    for case, methods, error in cases:
        for bits in (1.58,) if choice.quick else (2, 1.58):
            for name, method in methods.items():
                start = time.process_time()
                found = error(method, bits)
                note = f"{time.process_time() - start:.1f} CPU-s"
                rows.append(Row(f"{name}, {case}, {bits} bits", found, None, "rel. error", note=note))
                print(f"{rows[-1].case}: {found:.3g}, {note}", flush=True)
    show([*rows, layers.source], choice.json)


if __name__ == "__main__":
    main()
