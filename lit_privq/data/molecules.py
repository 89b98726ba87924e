"""Molecules from a CSV file: SMILES in, features and labels out. Needs RDKit, ``pip install lit_privq[molecules]``."""

from __future__ import annotations

import csv
import hashlib
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lit_privq.data.pool import Pool, set_aside

Features = NDArray[np.float32]
Embedder = Callable[[str], NDArray[Any]]
"""Anything that turns a SMILES into a vector of a fixed length; features are cached where its ``repr`` names it."""

_FARTHEST = 5.0  # standard deviations; descriptors have tails on which no network could be trained


@dataclass(frozen=True)
class Morgan:
    """Circular fingerprints.

    Args:
        radius: bonds around an atom.
        size: bits.
    """

    radius: int = 2
    size: int = 1024

    def __call__(self, smiles: str) -> NDArray[Any]:
        """(size,) zeros and ones."""
        _rdkit()
        from rdkit.Chem import MolFromSmiles, rdFingerprintGenerator

        generator = rdFingerprintGenerator.GetMorganGenerator(radius=self.radius, fpSize=self.size)
        return np.asarray(generator.GetFingerprintAsNumPy(MolFromSmiles(smiles)))


@dataclass(frozen=True)
class Maccs:
    """The 166 MACCS keys, after one bit that is never set."""

    def __call__(self, smiles: str) -> NDArray[Any]:
        """(167,) zeros and ones."""
        _rdkit()
        from rdkit.Chem import MolFromSmiles, rdMolDescriptors

        return np.array(rdMolDescriptors.GetMACCSKeysFingerprint(MolFromSmiles(smiles)))


@dataclass(frozen=True)
class Descriptors:
    """RDKit's physico-chemical descriptors, some two hundred; not all are defined for every molecule."""

    def __call__(self, smiles: str) -> NDArray[Any]:
        """(descriptors,) floats, NaN where a descriptor is not defined."""
        _rdkit()
        from rdkit.Chem import Descriptors as Table
        from rdkit.Chem import MolFromSmiles

        values = Table.CalcMolDescriptors(MolFromSmiles(smiles), missingVal=float("nan"))  # type: ignore[no-untyped-call]
        return np.array(list(values.values()))


@dataclass(frozen=True)
class Molecules:
    """A table of molecules with one measured label.

    Rows whose SMILES cannot be read or whose label is empty are left out. Rows that are the same molecule, however
    written, become one before anything is split: a duplicate on both sides of a split would corrupt membership. Values
    of a molecule measured twice are averaged; a molecule that is labelled with two classes is left out.

    Features are standardised over the pool: the same transformation for every model, so it tells nothing about
    who trained on what. They are cached in ``cache`` where that folder can be written to.

    Args:
        file: the CSV, in the data root.
        label: its column of labels: integers from 0 for classes, numbers for a regression.
        embedder: a callable from SMILES to a vector, by class path.
        smiles: its column of SMILES.
        regression: whether labels are values instead of classes.
        test_share: share of the molecules that none trains on, a fraction.
        cache: folder for features; None for the folder of the CSV.
        seed: of the order in which the test set is set aside.
        name: of the data set in results; None for the file's.

    Raises:
        ValueError: if ``test_share`` is not between 0 and 1.
    """

    file: str
    label: str
    embedder: Embedder
    smiles: str = "smiles"
    regression: bool = False
    test_share: float = 0.2
    cache: str | None = None
    seed: int = 0
    name: str | None = None

    def __post_init__(self) -> None:
        if not 0 < self.test_share < 1:
            raise ValueError(f"test_share must be a fraction between 0 and 1, such as 0.2; got {self.test_share}")

    def load(self, root: Path, download: bool) -> Pool:
        """Read the table, embed its molecules (or find them in the cache), and set the test set aside."""
        path = root / self.file
        molecules, labels = self._read(path)
        pool, test = set_aside(len(labels), self.test_share, self.seed)
        inputs = torch.from_numpy(standardised(self._features(path, molecules), pool))
        targets = torch.from_numpy(labels)
        n_classes = 0 if self.regression else int(labels.max()) + 1
        name = self.name or Path(self.file).stem
        return Pool(name, inputs[pool], targets[pool], inputs[test], targets[test], n_classes)

    def _read(self, path: Path) -> tuple[list[str], NDArray[Any]]:
        """Canonical SMILES, each once, and their labels."""
        rows = _table(path, (self.smiles, self.label))
        labelled = [(canonical(smiles), label) for smiles, label in rows if label]
        readable = [(smiles, label) for smiles, label in labelled if smiles is not None]
        if len(readable) < len(rows):
            warnings.warn(
                f"{path.name}: {len(rows) - len(readable)} of {len(rows)} rows left out, their SMILES cannot be read "
                "or their label is empty",
                stacklevel=3,
            )
        try:
            values = [float(label) for _, label in readable]
        except ValueError as error:
            raise ValueError(f"{path}: column {self.label} must hold numbers; {error}") from error
        merged = merge_duplicates([smiles for smiles, _ in readable], values, average=self.regression)
        if len(merged) < 3:
            raise ValueError(f"{path} must hold at least 3 different molecules with a label; got {len(merged)}")
        labels = np.array(list(merged.values()))
        if self.regression:
            return list(merged), labels.astype(np.float32)
        if (labels != labels.round()).any() or labels.min() < 0:
            raise ValueError(
                f"{path}: column {self.label} must hold classes 0, 1, ...; it does not, set regression for values"
            )
        return list(merged), labels.astype(np.int64)

    def _features(self, path: Path, molecules: Sequence[str]) -> Features:
        """(molecules, features) float32, from the cache where it has them."""
        key = hashlib.blake2b("\n".join((repr(self.embedder), *molecules)).encode(), digest_size=8).hexdigest()
        named = " at 0x" not in repr(self.embedder)  # an address would be another embedder's in the next process
        folder = path.parent if self.cache is None else Path(self.cache)
        cached = folder / f".{path.stem}-{key}.npy"
        if cached.exists() and named:
            return np.asarray(np.load(cached), dtype=np.float32)
        from rdkit import rdBase

        with rdBase.BlockLogs():
            features = np.stack([np.asarray(self.embedder(smiles), dtype=np.float64) for smiles in molecules])
        with np.errstate(over="ignore"):  # a descriptor beyond float32 becomes infinite, and is dealt with as missing
            narrow = features.astype(np.float32)
        if self.cache is not None:
            folder.mkdir(parents=True, exist_ok=True)
        if named and os.access(folder, os.W_OK):
            unfinished = cached.with_suffix(f".{os.getpid()}.npy")
            np.save(unfinished, narrow)
            unfinished.replace(cached)
        return narrow


def canonical(smiles: str) -> str | None:
    """RDKit's canonical SMILES of a molecule; None where it cannot read it.

    >>> canonical("C(C)O"), canonical("not a molecule")
    ('CCO', None)
    """
    _rdkit()
    from rdkit import Chem, rdBase

    with rdBase.BlockLogs():
        molecule = Chem.MolFromSmiles(smiles)
    return None if molecule is None else str(Chem.MolToSmiles(molecule))


def merge_duplicates(molecules: Sequence[str], labels: Sequence[float], average: bool) -> dict[str, float]:
    """One label per molecule, in the order of first appearance: the mean, or the one all its rows agree on.

    >>> merge_duplicates(["A", "B", "A"], [1.0, 2.0, 3.0], average=True)
    {'A': 2.0, 'B': 2.0}
    >>> merge_duplicates(["A", "B", "A"], [1.0, 0.0, 0.0], average=False)
    {'B': 0.0}
    """
    groups: dict[str, list[float]] = {}
    for molecule, label in zip(molecules, labels, strict=True):
        groups.setdefault(molecule, []).append(label)
    return {molecule: sum(group) / len(group) for molecule, group in groups.items() if average or len(set(group)) == 1}


def standardised(features: Features, rows: NDArray[np.int64]) -> Features:
    """Mean 0 and deviation 1 over some rows; what is missing becomes 0, and nothing lies farther out than 5.

    Columns that are constant over these rows, or never defined, are dropped.

    Args:
        features: (molecules, features), may hold NaN and infinities.
        rows: whose mean and deviation are taken.
    """
    values = np.where(np.isfinite(features), features, np.nan).astype(np.float64)
    values = values[:, np.isfinite(values[rows]).any(axis=0)]
    # A descriptor that reaches 1e40 for one molecule would leave no deviation to the others.
    low, high = np.nanquantile(values[rows], [0.001, 0.999], axis=0)
    values = np.clip(values, low, high)
    mean, deviation = np.nanmean(values[rows], axis=0), np.nanstd(values[rows], axis=0)
    varies = deviation > 1e-6 * (1 + np.abs(mean))
    scaled = (values[:, varies] - mean[varies]) / deviation[varies]
    return np.asarray(np.nan_to_num(np.clip(scaled, -_FARTHEST, _FARTHEST), nan=0.0), dtype=np.float32)


def _table(path: Path, columns: tuple[str, str]) -> list[tuple[str, str]]:
    """Two columns of a CSV file, stripped."""
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing; put the file there, or set data.root to the folder that holds it")
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        missing = set(columns) - set(reader.fieldnames or ())
        if missing:
            raise ValueError(
                f"{path} must have the columns {list(columns)}; {sorted(missing)} is not in {reader.fieldnames}"
            )
        return [((row[columns[0]] or "").strip(), (row[columns[1]] or "").strip()) for row in reader]


def _rdkit() -> None:
    """Refuse to go on without RDKit, with how to install it."""
    try:
        import rdkit  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "molecules are read with RDKit, which is not installed: pip install 'lit_privq[molecules]'"
        ) from error
