"""Pictures of exposed examples: kept where the data are at hand, shown where they are not."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from lit_privq.artifacts.confidences import Dump, write_dump
from lit_privq.artifacts.pictures import Pictures, read_pictures
from lit_privq.data import Canaries, Digits, GaussianModes, Pool, Source, half_membership
from lit_privq.report.command import main
from lit_privq.report.pictures import keep, pictured
from tests.report.test_browser import CHROMIUM, browse

CONFIGS = Path(__file__).parents[2] / "configs"
DIGITS = Canaries(Digits(pool_size=1200), "label_noise", count=60)  # as configs/data/digits.yaml


def dumps_of(pool: Pool, n_shadows: int = 4) -> list[Dump]:
    """Shadows whose confidence is 2 on members and -1 on others."""
    members = half_membership(n_shadows, len(pool.labels), seed=0)
    meta = {
        "dataset": pool.name, "net": "small", "fingerprint": pool.fingerprint(), "method": "none", "bits": 32,
        "last_bits": 32, "size_bytes": 1, "n_shadows": n_shadows, "n_targets": 0, "split_seed": 0, "n_queries": 2,
    }  # fmt: skip
    return [
        Dump(
            np.where(inside[:, None], [[1.0, 3.0]], [[-2.0, 0.0]]).astype(np.float32),
            pool.labels.numpy(),
            inside,
            np.zeros(0, np.int64),
            np.zeros((1, 2), np.float32),
            np.zeros(1, bool),
            {**meta, "index": index},
            slices={name: mask.numpy() for name, mask in pool.slices.items()},
        )
        for index, inside in enumerate(members)
    ]


@pytest.fixture
def folder(measured_study: Path, tmp_path: Path) -> Path:
    """The believable study of 1200 examples, with confidences on the digits."""
    shutil.copytree(measured_study, tmp_path / "study")
    for dump in dumps_of(DIGITS.load(Path(), download=False)):
        write_dump(tmp_path / f"study/confidence/none-32/{dump.meta['index']:03d}.npz", dump)
    return tmp_path / "study"


def kept(folder: Path) -> Pictures:
    assert keep(folder, CONFIGS / "data/digits.yaml") == folder / "exposed.npz"
    found = read_pictures(folder)
    assert found is not None
    return found


def test_six_canaries_and_six_others_are_kept_with_given_and_true_label(folder: Path) -> None:
    found, pool, original = kept(folder), DIGITS.load(Path(), False), Digits(pool_size=1200).load(Path(), False)
    rows = found.examples
    assert found.canaries.sum() == 6
    assert len(rows) == 12
    np.testing.assert_array_equal(found.images, pool.inputs[rows])
    np.testing.assert_array_equal(found.labels, pool.labels[rows])
    np.testing.assert_array_equal(found.true_labels, original.labels[rows])
    np.testing.assert_array_equal(found.true_labels != found.labels, found.canaries)


def test_probabilities_are_those_of_the_mean_log_odds_of_shadows_with_and_without_the_example(folder: Path) -> None:
    found = kept(folder)
    np.testing.assert_allclose(found.inside, 1 / (1 + np.exp(-2.0)))
    np.testing.assert_allclose(found.outside, 1 / (1 + np.exp(1.0)))


def test_the_page_shows_what_was_kept_when_the_data_are_gone(folder: Path, tmp_path: Path) -> None:
    main([str(folder), "--data", str(CONFIGS / "data/digits.yaml")])
    first = (folder / "report.html").read_bytes()
    shutil.rmtree(folder / "confidence")
    main([str(folder)])
    assert (folder / "report.html").read_bytes() == first
    page = first.decode()
    assert page.count('<img src="data:image/png;base64,') == 12
    assert page.count(", in truth “") == 6
    assert page.count("88.1\N{NO-BREAK SPACE}% in, 26.9\N{NO-BREAK SPACE}% out") == 12


@pytest.mark.skipif(not CHROMIUM, reason="needs a headless browser")
@pytest.mark.parametrize("width", [390, 1400])
def test_what_stands_beside_a_picture_stays_in_its_cell(folder: Path, tmp_path: Path, width: int) -> None:
    main([str(folder), "--data", str(CONFIGS / "data/digits.yaml")])
    look = (
        "(() => { d.querySelectorAll('details').forEach((each) => (each.open = true)); const right = (e) => "
        "e.getBoundingClientRect().right; return Array.from(d.querySelectorAll('.picture')).map((each) => "
        "right(each.lastElementChild) <= right(each.closest('th'))).join(' '); })()"
    )
    found, console = browse((folder / "report.html").read_text(encoding="utf-8"), tmp_path, width, look)
    assert found == " ".join(["true"] * 12)
    assert console == ""


def test_pictures_that_are_there_are_kept_without_reading_the_data(folder: Path, tmp_path: Path) -> None:
    kept(folder)
    before = (folder / "exposed.npz").read_bytes()
    assert keep(folder, CONFIGS / "data/cifar10.yaml", tmp_path / "nothing") == folder / "exposed.npz"
    assert (folder / "exposed.npz").read_bytes() == before
    (folder / "exposed.npz").unlink()
    kept(folder)
    assert (folder / "exposed.npz").read_bytes() == before


def test_a_page_without_the_data_has_numbers_and_the_reader_is_told(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main([str(folder), "--data", str(CONFIGS / "data/cifar10.yaml"), "--data_root", str(tmp_path)])
    assert "the page has no new pictures of exposed examples: CIFAR10 lacks" in capsys.readouterr().err
    assert "<img" not in (folder / "report.html").read_text(encoding="utf-8")


def test_pictures_of_other_data_are_refused() -> None:
    shadows = dumps_of(DIGITS.load(Path(), download=False))
    with pytest.raises(ValueError, match=r"must be of the pool that was audited; digits of Digits in \. is another"):
        pictured([0], shadows, Digits(pool_size=1200), Path())


def test_features_have_no_pictures() -> None:
    source = GaussianModes()
    assert pictured([0], dumps_of(source.load(Path(), download=False)), source, Path()) is None


@dataclass(frozen=True)
class Large:
    """Ten images of 96x64 pixels, black above and white below."""

    def load(self, root: Path, download: bool) -> Pool:
        images = torch.zeros(10, 3, 96, 64, dtype=torch.uint8)
        images[:, :, 48:] = 255
        labels = torch.arange(10) % 2
        return Pool("large", images, labels, images, labels, 2, (0.5,) * 3, (0.5,) * 3)


def test_large_images_are_kept_small() -> None:
    source: Source = Large()
    found = pictured([7, 2], dumps_of(source.load(Path(), download=False)), source, Path())
    assert found is not None
    assert found.images.shape == (2, 3, 48, 32)
    assert found.images[0, 0, :, 0].tolist() == [0] * 24 + [255] * 24


def test_pictures_of_several_studies_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^--data is for one study; got it beside --output"):
        main([str(tmp_path), "--output", str(tmp_path / "out"), "--data", "x.yaml"])


def test_a_config_without_data_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="must name a data set, as configs/data do"):
        keep(folder, CONFIGS / "ptq/obc.yaml")
