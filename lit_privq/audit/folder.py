"""A study's ``confidence/`` folder: read, checked against itself, and laid out as cases."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lit_privq.artifacts.confidences import Dump, read_dump
from lit_privq.artifacts.variant import FULL_PRECISION, Variant
from lit_privq.attacks import Observed
from lit_privq.audit.case import Case
from lit_privq.audit.holding import Versions

Design = Literal["held_out", "leave_one_out"]
_SAME = ("dataset", "fingerprint", "n_shadows", "split_seed", "n_queries", "precision")
FULL = FULL_PRECISION.name

_MOST_VERSIONS = 4  # of one model in an attacker's hands: fifteen subsets to try


@dataclass(frozen=True, eq=False)
class Models:
    """The dumps of one variant, by model index, less what an audit does not look at."""

    dataset: str
    net: str
    variant: Variant
    dumps: Mapping[int, Dump]

    def observed(self, index: Sequence[int]) -> Observed:
        """Some of the models, as attacks see them."""
        dumps = [self.dumps[i] for i in index]
        logits = [dump.logits for dump in dumps if dump.logits is not None]
        return Observed(
            [dump.confidence for dump in dumps],
            np.stack([dump.members for dump in dumps]),
            logits if len(logits) == len(dumps) else None,
            dumps[0].labels,
            finite=True,  # a dump is checked when it is read
        )


class Folder:
    """The dumps of a study.

    Args:
        path: holds a folder of .npz files per variant.
        n_targets: held-out targets; None takes the most that a full-precision dump names, as targets can be added
            later and do not change what others were trained on.
        recipes: names of the recipes in the study's order; those not named come last.
        left_out: models that are not looked at, whether they are there or not.

    Raises:
        FileNotFoundError: if there is no full-precision variant, of the study's first recipe or of a quantized one's.
        ValueError: if a dump is missing, damaged, of another study than the rest or of a model that trained on all or
            nothing; names it and what mends it.
    """

    def __init__(
        self, path: Path, n_targets: int | None = None, recipes: Sequence[str] = (), left_out: Sequence[int] = ()
    ) -> None:
        self.path, self._given, self._named, self.left_out = path, n_targets, 0, left_out
        found = [Variant.parse(child.name) for child in sorted(path.iterdir()) if any(child.glob("*.npz"))]
        order = [*recipes, *sorted({variant.recipe for variant in found} - set(recipes))]
        found.sort(key=lambda v: (v.recipe != "", order.index(v.recipe) if v.recipe else 0, v.quantized))
        self.variants = [variant.name for variant in found]
        for variant in (FULL_PRECISION, *found):
            if variant.parent not in found:
                raise FileNotFoundError(
                    f"an audit needs the full-precision models; there is no folder {path / variant.parent.name} with "
                    ".npz files; run predict on their checkpoints"
                )
        self._first: Dump | None = None
        self._nets: dict[str, str] = {}  # by recipe
        self._full: dict[int, Dump] = {}
        self.full = self.read(FULL)
        self._full = dict(self.full.dumps)
        self._parents = {FULL_PRECISION: self.full}

    @property
    def slices(self) -> Mapping[str, NDArray[np.bool_]]:
        """Sets of examples that the data set brings along, (examples,) bool by name."""
        assert self._first is not None
        return self._first.slices

    @property
    def shadows(self) -> list[int]:
        """Indices of the shadow models."""
        return self._left(range(self._meta["n_shadows"]))

    @property
    def targets(self) -> list[int]:
        """Indices of the held-out targets."""
        first = self._meta["n_shadows"]
        return self._left(range(first, first + (self._given or self._named)))

    def _left(self, indices: range) -> list[int]:
        return [index for index in indices if index not in self.left_out]

    def parent(self, variant: Variant) -> Models:
        """The full-precision models of a variant's recipe."""
        if variant.parent not in self._parents:
            self._parents[variant.parent] = self.read(variant.parent.name)
        return self._parents[variant.parent]

    @property
    def _slices(self) -> dict[str, bytes]:
        assert self._first is not None
        return {name: mask.tobytes() for name, mask in self._first.slices.items()}

    @property
    def _meta(self) -> Mapping[str, Any]:
        assert self._first is not None
        return self._first.meta

    def read(self, name: str) -> Models:
        """The models of one variant."""
        absent = {f"{index:03d}.npz" for index in self.left_out}
        paths = sorted(path for path in (self.path / name).glob("*.npz") if path.name not in absent)
        dumps = {}
        for path in paths:
            dump = read_dump(path)
            self._first = self._first or dump
            self._check(path, dump)
            dumps[int(dump.meta["index"])] = dump
            self._named = max(self._named, dump.meta["n_targets"])
        variant, indices = Variant.parse(name), list(self.targets)
        if not variant.quantized or any(index in dumps for index in self.shadows):
            indices = [*self.shadows, *indices]
        self._check_complete(name, dumps, indices)
        meta = next(iter(dumps.values())).meta
        return Models(meta["dataset"], meta["net"], variant, dumps)

    def cases(self, name: str, design: Design, models: Models) -> Iterator[Case]:
        """One variant before every attacker: unaware, and adaptive and paired where its shadows are quantized too.

        Attackers quantize their shadows once: repeats meet those of the first draw, and no paired attacker.
        """
        quantized, parent = models.variant.quantized, self.parent(models.variant)
        first = self.read(models.variant.first.name) if models.variant.repeat else models
        adaptive = quantized and all(index in first.dumps for index in self.shadows)
        if design == "leave_one_out" and quantized and not adaptive:
            return  # only shadows are targets, and these were not quantized
        index = self.targets if design == "held_out" else self.shadows
        own = None if design == "held_out" else np.arange(len(self.shadows))
        targets = models.observed(index)
        calibration = tuple(models.dumps[i].calibration for i in index)
        full = parent.observed(self.shadows)

        def case(attacker: str, shadows: Observed, versions: Versions | None = None) -> Case:
            what = models.dataset, models.net, models.variant
            return Case(*what, attacker, np.array(index), shadows, targets, own, calibration, versions or {})

        yield case("unaware", full)
        if adaptive:
            shadows = first.observed(self.shadows)
            yield case("adaptive", shadows)
        if adaptive and not models.variant.repeat:
            yield case("paired", shadows, {"target": (shadows, targets), "parent": (full, parent.observed(index))})

    def families(self, design: Design) -> Iterator[Case]:
        """All precisions of a method at once, for methods of which the shadows are quantized at several.

        The attacker of such a case holds every version of the targets, which are of one recipe; decoupled ones and maps
        are left out, as most studies have them beside the same precisions, and so are repeats.
        """
        index = self.targets if design == "held_out" else self.shadows
        own = None if design == "held_out" else np.arange(len(self.shadows))
        by_method: dict[str, dict[str, Models]] = {}
        for name in self.variants:
            variant, first_shadow = Variant.parse(name), self.path / name / f"{self.shadows[0]:03d}.npz"
            if not variant.quantized or not variant.uniform or variant.repeat or not first_shadow.is_file():
                continue
            by_method.setdefault(variant.group, {})[name] = self.read(name)
        for versions in by_method.values():
            ordered = sorted(versions.items(), key=lambda item: -item[1].variant.bits)[:_MOST_VERSIONS]
            if len(ordered) < 2:
                continue
            first = ordered[0][1]
            held = {name: (models.observed(self.shadows), models.observed(index)) for name, models in ordered}
            shadows, targets = held[ordered[0][0]]
            calibration = tuple(first.dumps[i].calibration for i in index)
            what = first.dataset, first.net, first.variant
            yield Case(*what, "family", np.array(index), shadows, targets, own, calibration, held)

    def parents(self, variant: Variant, design: Design) -> tuple[Observed, Observed]:
        """Full-precision shadows and targets of a variant's recipe."""
        parent, index = self.parent(variant), self.targets if design == "held_out" else self.shadows
        return parent.observed(self.shadows), parent.observed(index)

    def _check(self, path: Path, dump: Dump) -> None:
        """A dump against the first one, its own file name and its full-precision parent."""
        assert self._first is not None
        index = dump.meta["index"]
        if path.stem != f"{index:03d}":
            raise ValueError(f"{path} says it is model {index}; delete it and {self._mend(path.parent.name, index)}")
        for key in _SAME:
            ours, others = (one.meta.get(key, "32-true") for one in (dump, self._first))  # old dumps lack the precision
            if ours != others:
                raise ValueError(
                    f"all dumps of a study must share {key}; {path} has {ours!r}, the others {others!r}; delete it and "
                    f"{self._mend(path.parent.name, index)}"
                )
        if not np.array_equal(dump.labels, self._first.labels):
            raise ValueError(
                f"all dumps of a study must have the same labels; those of {path} differ; delete it and "
                f"{self._mend(path.parent.name, index)}"
            )
        if {name: mask.tobytes() for name, mask in dump.slices.items()} != self._slices:
            raise ValueError(
                f"all dumps of a study must have the same slices; {path} has {', '.join(dump.slices) or 'none'}, the "
                f"others {', '.join(self._first.slices) or 'none'}; delete it and {self._mend(path.parent.name, index)}"
            )
        variant = Variant(
            *(dump.meta[key] for key in ("method", "bits", "last_bits")),
            *(dump.meta.get(key, other) for key, other in (("layers", ""), ("recipe", ""), ("repeat", 0))),
        )
        if variant.name != path.parent.name:
            raise ValueError(
                f"{path} says it is of {variant.name}; delete it and {self._mend(path.parent.name, index)}"
            )
        if dump.meta["net"] != (net := self._nets.setdefault(variant.recipe, dump.meta["net"])):
            raise ValueError(
                f"all models of a recipe must have the same network; {path} has {dump.meta['net']}, the others {net}; "
                f"delete it and {self._mend(path.parent.name, index)}"
            )
        parent = self._full.get(index)
        if parent is not None and not np.array_equal(dump.members, parent.members):
            raise ValueError(
                "a model's members are the same in every recipe, and do not change when it is quantized; those of "
                f"{path} differ from {FULL}'s; delete it and {self._mend(path.parent.name, index)}"
            )
        count = int(dump.members.sum())
        if count in (0, len(dump.members)):
            raise ValueError(
                f"every model of a study trains on some of the {len(dump.members)} examples and not on the others; "
                f"{path} has {count} members; make the study again with another data.split_seed"
            )

    def _check_complete(self, name: str, dumps: Mapping[int, Dump], indices: list[int]) -> None:
        missing = [index for index in indices if index not in dumps]
        if missing:
            raise ValueError(
                f"{len(missing)} of {len(indices)} models have no confidences in {self.path / name}: {missing}; "
                f"{self._mend(name, missing[0])}, and so for each"
            )

    def _mend(self, name: str, index: int) -> str:
        root = self.path.parent
        return (
            f"run `python -m lit_privq predict --config CONFIG --ckpt_path "
            f"'{root}/checkpoints/{name}/{{index:03d}}.ckpt' --data.model_index {index} "
            f"--trainer.default_root_dir {root}`, CONFIG being the study's own of its queries"
        )
