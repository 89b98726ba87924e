from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import pytest
import torch
from torch import Tensor

from lit_privq.data.canaries import Canaries, Kind
from lit_privq.data.digits import Digits
from lit_privq.data.gaussian import GaussianModes
from lit_privq.data.pool import Pool

KINDS = get_args(Kind)


@dataclass(frozen=True)
class Colours:
    """Colour images of another size than the digits."""

    def load(self, root: Path, download: bool) -> Pool:
        images = torch.randint(0, 256, (300, 3, 12, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
        labels = torch.arange(300) % 5
        return Pool("colours", images, labels, images[:20], labels[:20], 5, (0.5,) * 3, (0.25,) * 3)


@dataclass(frozen=True)
class Values:
    """A regression."""

    def load(self, root: Path, download: bool) -> Pool:
        features = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
        return Pool("values", features, features[:, 0], features, features[:, 0], 0)


@dataclass(frozen=True)
class Thinned:
    """Some classes of the digits, for networks of all ten."""

    classes: tuple[int, ...] = (1, 4, 7)

    def load(self, root: Path, download: bool) -> Pool:
        pool = Digits().load(root, download)
        kept = torch.isin(pool.labels, torch.tensor(self.classes))
        return replace(pool, inputs=pool.inputs[kept], labels=pool.labels[kept])


def planted(kind: Kind, source: object = Digits(), count: int = 60, **options: object) -> tuple[Pool, Pool, Tensor]:
    """The plain pool, the one with canaries, and where they are."""
    other = Colours() if kind == "out_of_distribution" else None
    pool = Canaries(source, kind, count, other=other, **options).load(Path(), False)  # type: ignore[arg-type]
    return source.load(Path(), False), pool, pool.slices["canaries"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("source", [Digits(), Colours()], ids=["digits", "colours"])
def test_canaries_replace_as_many_examples_as_asked_for_and_no_other(kind: Kind, source: object) -> None:
    before, after, where = planted(kind, source)
    assert where.sum() == 60
    for name in ("inputs", "labels"):
        assert torch.equal(getattr(before, name)[~where], getattr(after, name)[~where])
    assert torch.equal(before.test_inputs, after.test_inputs)
    assert torch.equal(before.test_labels, after.test_labels)
    changed = (before.inputs != after.inputs).flatten(1).any(1) | (before.labels != after.labels)
    assert changed[where].float().mean() > 0.95  # a random pick of the same label and image is possible, rarely
    assert int(after.labels.min()) >= 0
    assert int(after.labels.max()) < after.n_classes


def test_label_noise_keeps_the_image_and_never_the_label() -> None:
    before, after, where = planted("label_noise", count=600)
    assert torch.equal(before.inputs, after.inputs)
    assert (before.labels[where] != after.labels[where]).all()
    shares = torch.bincount((after.labels[where] - before.labels[where]) % 10, minlength=10)[1:] / 600
    assert (shares - 1 / 9).abs().max() < 4 * (1 / 9 * 8 / 9 / 600) ** 0.5  # four standard errors, nine shares


@pytest.mark.parametrize("kind", KINDS)
def test_no_canary_has_a_class_that_the_pool_lacks(kind: Kind) -> None:
    _, after, where = planted(kind, Thinned(), count=100)
    assert set(after.labels[where].tolist()) == {1, 4, 7}


def test_label_noise_among_present_classes_is_uniform() -> None:
    before, after, where = planted("label_noise", Thinned(), count=300)
    first = where & (before.labels == 1)
    assert (before.labels[where] != after.labels[where]).all()
    assert abs((after.labels[first] == 4).float().mean() - 0.5) < 4 * (0.25 / int(first.sum())) ** 0.5


def test_label_noise_of_a_single_class_is_refused() -> None:
    with pytest.raises(ValueError, match="label noise needs a wrong class, and all examples of digits have the same"):
        Canaries(Thinned((3,)), count=10).load(Path(), False)


def test_blank_images_have_the_mean_colour() -> None:
    before, after, where = planted("blank", Colours())
    colours = after.inputs[where].flatten(2)
    assert (colours == colours[..., :1]).all()
    torch.testing.assert_close(colours[0, :, 0].float(), before.inputs.float().mean((0, 2, 3)), atol=0.5, rtol=0)


def test_images_of_another_source_take_this_ones_size_and_channels() -> None:
    _, after, where = planted("out_of_distribution")
    assert after.inputs.shape[1:] == (1, 8, 8)
    assert after.inputs[where].float().std() > 5  # images, no flat colour


def test_noise_is_uniform() -> None:
    _, after, where = planted("noise", count=600)
    pixels = after.inputs[where].double()
    assert pixels.mean() == pytest.approx(127.5, abs=4 * 73.9 / pixels.numel() ** 0.5)  # four standard errors
    assert pixels.std() == pytest.approx(73.9, rel=0.02)


def test_a_duplicate_is_a_shifted_pool_example_that_stays_where_it_is() -> None:
    before, after, where = planted("duplicate", count=5)
    for image, label in zip(after.inputs[where], after.labels[where], strict=True):
        same = (before.inputs[:, :, :-1, :-1] == image[:, 1:, 1:]).flatten(1).all(1)
        assert (same & ~where & (before.labels == label)).any()
        assert not image[:, 0].any()
        assert not image[:, :, 0].any()


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_plants_the_same_canaries_and_another_seed_others(kind: Kind) -> None:
    (_, one, _), (_, same, _), (_, other, _) = (planted(kind, seed=seed) for seed in (0, 0, 1))
    assert one.fingerprint() == same.fingerprint() != other.fingerprint()


@pytest.mark.parametrize(("kind", "most"), [("label_noise", 1199), ("duplicate", 600)])
def test_more_canaries_than_fit_are_refused(kind: Kind, most: int) -> None:
    with pytest.raises(ValueError, match=f"do not fit the 1200 pool examples of digits; set count to at most {most}"):
        planted(kind, count=most + 1)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "label_noise"])
def test_images_are_not_planted_among_features(kind: Kind) -> None:
    with pytest.raises(ValueError, match=f"{kind} canaries are images, and examples of .* use kind label_noise"):
        planted(kind, GaussianModes(), count=5)


def test_values_have_no_wrong_class() -> None:
    with pytest.raises(ValueError, match="canaries need classes, and the labels of values are values"):
        planted("label_noise", Values(), count=5)


def test_another_source_is_for_out_of_distribution_canaries_alone() -> None:
    with pytest.raises(ValueError, match="got kind noise with other"):
        Canaries(Digits(), "noise", other=Colours())
    with pytest.raises(ValueError, match="got kind out_of_distribution without other"):
        Canaries(Digits(), "out_of_distribution")


def test_too_few_other_images_are_refused() -> None:
    with pytest.raises(ValueError, match="need 400 images; Colours has"):
        Canaries(Digits(), "out_of_distribution", 400, other=Colours()).load(Path(), False)


@pytest.mark.parametrize("mask", [torch.zeros(3, dtype=torch.bool), torch.ones(1200)])
def test_a_slice_of_another_length_or_type_is_refused(mask: Tensor) -> None:
    with pytest.raises(ValueError, match=r"slice rare of digits must be \(1200,\) bool"):
        replace(Digits().load(Path(), False), slices={"rare": mask})


def test_an_empty_slice_is_refused() -> None:
    with pytest.raises(ValueError, match="slice rare of digits holds no example"):
        replace(Digits().load(Path(), False), slices={"rare": torch.zeros(1200, dtype=torch.bool)})
