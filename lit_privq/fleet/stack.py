"""F networks of one architecture as one module, so that one forward call and one optimizer step serve all of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from torch import Tensor, nn

Way = Literal["alone", "grouped", "vmap"]


class Stack(nn.Module, ABC):
    """F networks of one architecture.

    Any optimizer that treats parameters elementwise (SGD, Adam) steps all networks exactly as it would step each.
    What looks at a whole tensor (clipping by norm, LARS, Muon) does not.

    Args:
        nets: F networks of one architecture.
    """

    way: ClassVar[Way]

    def __init__(self, nets: Sequence[nn.Module]) -> None:
        super().__init__()
        self.size = len(nets)

    def forward(
        self, images: Tensor, models: Sequence[int] | None = None, replaced: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """Every network on its own batch.

        Args:
            images: (F, batch, ...), or (len(models), batch, ...).
            models: the networks to run, each at most once; all when None. Gradients (others receive zero or none)
                and batch-norm statistics reach only these.
            replaced: parameters to take in the place of the networks' own, by name, (F, ...) each.

        Returns:
            (F, batch, classes), or (len(models), batch, classes).

        Raises:
            ValueError: if there is not one batch for each network.
        """
        expected = self.size if models is None else len(models)
        if len(images) != expected:
            raise ValueError(f"images must hold one batch for each of {expected} networks; got {len(images)}")
        if models is None:
            return self._run(images, replaced or {})
        return self._run_some(images, list(models), replaced or {})

    @abstractmethod
    def joined(self, name: str) -> Tensor:
        """A parameter of all networks, (F, ...), through which gradients flow."""

    @property
    @abstractmethod
    def parts(self) -> Sequence[nn.Module]:
        """The modules that hold the networks: one for each, or one for all, whose parameters are (F, ...)."""

    @abstractmethod
    def state_dict_of(self, model: int) -> dict[str, Tensor]:
        """An ordinary state_dict of one network, detached and copied."""

    def part_of_first(self, activation: Tensor) -> Tensor | None:
        """Model 0's part of a layer's input or output, None where it cannot be told; to name the layer at fault."""
        return None

    @abstractmethod
    def _run(self, images: Tensor, replaced: Mapping[str, Tensor]) -> Tensor:
        """All networks."""

    @abstractmethod
    def _run_some(self, images: Tensor, models: list[int], replaced: Mapping[str, Tensor]) -> Tensor:
        """Some networks."""
