import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lit_privq.data.molecules import Descriptors, Maccs, Molecules, Morgan, canonical, standardised

pytest.importorskip("rdkit")

ROWS = """name,SMI,active,y
ethanol,CCO,1,-0.2
ethanol again,OCC,1,0.2
propane,CCC,0,1.5
benzene,c1ccccc1,0,2.1
phenol,Oc1ccccc1,1,1.4
amine,CCN,0,-0.5
amine again,NCC,1,-0.7
acid,CC(=O)O,1,-0.3
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "tiny.csv").write_text(ROWS)
    return tmp_path


def tiny(**options: Any) -> Molecules:
    return replace(Molecules("tiny.csv", "active", Maccs(), smiles="SMI"), **options)


def test_one_molecule_has_one_canonical_smiles() -> None:
    assert canonical("OCC") == canonical("C(C)O") == "CCO"


def test_no_molecule_is_there_twice_however_it_is_written(root: Path) -> None:
    pool = tiny(label="y", regression=True).load(root, download=False)
    assert len(pool.labels) + len(pool.test_labels) == 6
    values = sorted([*pool.labels.tolist(), *pool.test_labels.tolist()])
    assert values == pytest.approx(sorted([0.0, 1.5, 2.1, 1.4, -0.6, -0.3]), abs=1e-6)  # float32 of a mean of two rows


def test_a_molecule_of_two_classes_is_left_out(root: Path) -> None:
    pool = tiny().load(root, download=False)
    assert len(pool.labels) + len(pool.test_labels) == 5  # without the amine


def test_classes_are_integers_and_values_are_floats(root: Path) -> None:
    classes, values = tiny().load(root, False), tiny(label="y", regression=True).load(root, False)
    assert (classes.labels.dtype.is_floating_point, classes.n_classes) == (False, 2)
    assert (values.labels.dtype.is_floating_point, values.n_classes) == (True, 0)


@pytest.mark.parametrize("embedder", [Morgan(size=64), Maccs(), Descriptors(), lambda smiles: np.array([len(smiles)])])
def test_any_callable_may_embed(root: Path, embedder: Callable[[str], NDArray[Any]]) -> None:
    pool = tiny(embedder=embedder).load(root, download=False)
    assert pool.inputs.isfinite().all()
    assert pool.inputs.abs().max() <= 5
    assert pool.inputs.shape[1] == pool.test_inputs.shape[1] > 0


@dataclass(frozen=True)
class Counted:
    calls: list[str] = field(default_factory=list, repr=False)

    def __call__(self, smiles: str) -> NDArray[Any]:
        self.calls.append(smiles)
        return np.array([len(smiles), smiles.count("C")])


def test_features_are_computed_once(root: Path, tmp_path: Path) -> None:
    embedder = Counted()
    source = tiny(embedder=embedder, cache=str(tmp_path / "features"))
    first = source.load(root, download=False)
    assert source.load(root, download=False).fingerprint() == first.fingerprint()
    assert len(embedder.calls) == 5


def test_features_of_an_embedder_without_a_name_are_not_cached(root: Path) -> None:
    tiny(embedder=lambda smiles: np.array([len(smiles)])).load(root, download=False)
    assert [path.name for path in root.iterdir()] == ["tiny.csv"]


def test_other_options_do_not_find_each_others_features(root: Path) -> None:
    few, many = (tiny(embedder=Morgan(size=size)).load(root, download=False) for size in (64, 1024))
    assert few.inputs.shape[1] < many.inputs.shape[1]


def test_rows_that_cannot_be_read_are_named_and_left_out(root: Path) -> None:
    (root / "tiny.csv").write_text(ROWS + "nonsense,xyz,1,0.3\nunlabelled,CCCC,,\n")
    with pytest.warns(UserWarning, match=r"tiny.csv: 2 of 10 rows left out"):
        pool = tiny().load(root, download=False)
    assert len(pool.labels) + len(pool.test_labels) == 5


def test_a_missing_column_is_named(root: Path) -> None:
    with pytest.raises(ValueError, match=r"must have the columns \['smiles', 'active'\]; \['smiles'\] is not in"):
        tiny(smiles="smiles").load(root, download=False)


def test_values_are_not_taken_for_classes(root: Path) -> None:
    with pytest.raises(ValueError, match="set regression for values"):
        tiny(label="y").load(root, download=False)


def test_labels_must_be_numbers(root: Path) -> None:
    with pytest.raises(ValueError, match="column name must hold numbers"):
        tiny(label="name").load(root, download=False)


def test_a_missing_file_is_named_with_its_remedy(root: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"absent.csv is missing; put the file there, or set data.root"):
        tiny(file="absent.csv").load(root, download=False)


def test_without_rdkit_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rdkit", None)
    with pytest.raises(ImportError, match=r"pip install 'lit_privq\[molecules\]'"):
        canonical("CCO")


def test_standardised_features_look_at_the_given_rows_only() -> None:
    features = np.array([[0, np.nan, 1], [2, np.nan, 1], [100, 3, 9]], dtype=np.float32)
    scaled = standardised(features, np.array([0, 1]))
    # column two is never defined and column three constant over the first two rows; 100 is clipped to their range
    np.testing.assert_allclose(scaled, [[-1], [1], [1]], atol=0.01)
