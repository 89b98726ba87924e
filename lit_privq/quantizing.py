"""Base of the LightningModules that quantize: it reads the float models and describes the quantized ones."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor, nn

from lit_privq.artifacts.checkpoint import checkpoint_path, network_of, read_checkpoint
from lit_privq.artifacts.codes import stored_layer, without_weights
from lit_privq.artifacts.construction import plain
from lit_privq.artifacts.state import detached, with_prefix
from lit_privq.artifacts.variant import SEEDS_PER_DRAW, Variant, for_network
from lit_privq.data.batches import BatchIndices
from lit_privq.data.datamodule import ShadowModule
from lit_privq.export.command import size_on_disk
from lit_privq.quantization.checks import bits_of
from lit_privq.quantization.layers import last_layer
from lit_privq.quantization.method import check_options
from lit_privq.quantization.network import NetworkQuantizer, UnitReport
from lit_privq.query import check_same_study

Bits = float | dict[str, float | str]
SEED_STEP = 7_919
"""Between the seeds of repeats."""

logger = logging.getLogger(__name__)


class Quantizing(ShadowModule):
    """Base of `Calibration` and `QuantizationAwareTraining`.

    Args:
        checkpoint: path of a full-precision checkpoint; for a fleet with ``{index:03d}`` where the index stands.
        bits: 1, 1.58, 2, 4, 8, ...; or a map of shell patterns over layer names, the last match wins, such as
            ``{"*": 1.58, "last": 8}``, where ``last`` is the last layer whatever its name, and 32 leaves a layer in
            float; or a list of these.
        name: of the method in folders and tables.
        trust: modules or packages, beside torch, torchvision and lit_privq, whose networks checkpoints may name;
            the command line sets it from ``--trust``.
        repeat: which of several quantizations of the same models this is, each with other seeds; every two of them, 0
            and 1, 2 and 3, share one draw of the calibration examples. The first is the one that has no number.

    Raises:
        ValueError: if repeat is below 0.
    """

    def __init__(
        self, checkpoint: str, bits: Bits | list[Bits], name: str, trust: Sequence[str] = (), repeat: int = 0
    ) -> None:
        super().__init__()
        check_options((repeat >= 0, "repeat must be at least 0, the first", repeat))
        self.repeat, self.calibration_draw = repeat, repeat // SEEDS_PER_DRAW
        self.checkpoint, self.name, self.trust = checkpoint, name, trust
        self.given_bits = bits if isinstance(bits, list) else [bits]
        self.bits: list[float | dict[str, float]] = []  # by this network's layers
        self.recipe = ""  # of the parents
        self.variants: list[str] = []  # by precision
        self.reports: list[UnitReport] = []
        self.parents: list[dict[str, Any]] = []
        self.nets: list[nn.Module] = []
        self.history: dict[str, Tensor] = {}

    def setup(self, stage: str) -> None:
        """Read the checkpoints and hold them against the data."""
        for model in self.data.models:
            path = checkpoint_path(self.checkpoint, model)
            parent = read_checkpoint(path)
            if "quantization" in parent:
                raise ValueError(f"{path} is quantized already; give the full-precision checkpoint it was made from")
            check_same_study(parent, path, self.data, model)
            self.parents.append(parent)
            self.nets.append(network_of(parent, path, self.trust))
        self.bits = [for_network(one, last_layer(self.nets[0])) for one in self.given_bits]
        self.recipe = Variant.parse(self.parents[0]["lit_privq"]["variant"]).recipe
        made = [Variant.of(self.name, one) for one in self.given_bits]
        self.variants = [replace(one, recipe=self.recipe, repeat=self.repeat).name for one in made]

    @property
    def sees_members(self) -> bool:
        """Whether the quantized networks depend on training members other than through their parents.

        The guarantee of a DP-SGD parent holds for whatever is computed from it alone (post-processing), and ends where
        its members are looked at again. It is about the weights: a checkpoint's records also name members and say
        errors on them.
        """
        return True

    @abstractmethod
    def checkpoints(self) -> list[dict[str, Any]]:
        """The checkpoints to write when the fit ends, one per model and precision."""

    def seed_of(self, model: int) -> int:
        """A model's own seed, for methods and batches that draw random numbers; another for each repeat."""
        return (self.data.seed + SEED_STEP * self.repeat) * 100_003 + model

    def images(self, indices: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Pool images of indices, shifted and mirrored where there is a generator: drawn on the CPU, made here."""
        chosen = self.data.augmentation(indices, generator)
        return self.data.batch_maker("pool", self.device).batch(
            BatchIndices(*(part.to(self.device) for part in chosen))
        )[0]

    @torch.no_grad()
    def utility_of(self, net: nn.Module, batch_size: int = 512) -> float:
        """Accuracy, or R squared, of a network in evaluation mode on the test set."""
        maker, values = self.data.batch_maker("test", self.device), list[Tensor]()
        for chosen in torch.arange(len(self.data.pool.test_labels), device=self.device).split(batch_size):
            inputs, labels = maker.batch(self.data.augmentation(chosen, None))
            values.append(self.task.utility(net(inputs)[None], labels[None])[0])  # (batch,)
        return float(torch.cat(values).float().mean())

    def say_what_stays_float(self, quantizer: NetworkQuantizer, variants: Sequence[str]) -> None:
        """Log the weights that maps of bits leave in float, for each variant of the quantizer."""
        for precision, variant in enumerate(variants):
            floats = quantizer.float_weights(precision)
            if floats:
                logger.warning(
                    "%s: %d of %d weights stay float: %s",
                    variant, len(floats), len(quantizer.weights), ", ".join(floats),
                )  # fmt: skip

    def quantized_checkpoint(
        self,
        k: int,
        precision: int,
        net: nn.Module,
        quantizer: NetworkQuantizer,
        place: tuple[int, int],
        made: Mapping[str, Any],
    ) -> dict[str, Any]:
        """A `Classifier` checkpoint of one model at one precision, which has codes in place of the quantized weights.

        Args:
            k: the model's place among those of the command.
            precision: likewise.
            net: the quantized network.
            quantizer: which made it.
            place: of the model and of the precision in the quantizer.
            made: what else it says about how it was made.
        """
        parent, bits = self.parents[k], self.bits[precision]
        layers, floats = quantizer.codes(*place), quantizer.float_weights(place[1])
        stored = {name: stored_layer(net, name, layer, bits_of(name, bits)) for name, layer in layers.items()}
        about = {
            **parent["lit_privq"],
            "variant": self.variants[precision],
            "method": self.name,
            "options": plain(self.hparams["method"]),
            "bits": plain(bits),
            "weights": len(quantizer.weights),
            "float_weights": len(floats),
            "float_names": floats,
            **made,
            "units": [asdict(report) for report in self.reports if (report.model, report.precision) == (k, precision)],
        }
        if "dp_sgd" in about and self.sees_members:  # once more, without noise
            about["dp_sgd"] = {**about["dp_sgd"], "epsilon": None}
        checkpoint = {
            **parent,
            "state_dict": with_prefix(without_weights(detached(net.state_dict()), stored), "net"),
            "lit_privq": about,
            "quantization": stored,
        }
        about["size_bytes"] = size_on_disk(checkpoint)
        return checkpoint
