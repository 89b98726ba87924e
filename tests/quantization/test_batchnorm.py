from __future__ import annotations

import copy
import weakref
from typing import cast

import pytest
import torch
from torch import Tensor, nn

from lit_privq.models.small import small_resnet
from lit_privq.quantization.batchnorm import correct_bias, tune_batch_norm
from lit_privq.quantization.nearest import Nearest
from lit_privq.quantization.network import NetworkQuantizer
from tests.quantization.networks import kinds

DATA = torch.randn(64, 1, 8, 8, generator=torch.Generator().manual_seed(4)) + 0.5


def trained_like(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    net = small_resnet(num_classes=3, width=4)
    tune_batch_norm(net.eval(), DATA, seed=0, n_batches=4, batch_size=64)
    return net


def quantized(net: nn.Module) -> nn.Module:
    quantizer = NetworkQuantizer([net], DATA[None], Nearest(), [1.58], [0])
    for _ in quantizer.units:
        quantizer.step()
    return quantizer.network(0, 0)


def test_statistics_of_one_full_batch_are_the_layers_own_by_hand() -> None:
    net = nn.Sequential(nn.BatchNorm2d(1)).eval()
    tune_batch_norm(net, DATA, seed=0, n_batches=3, batch_size=64)
    norm = cast(nn.BatchNorm2d, net[0])
    assert norm.running_mean is not None
    assert norm.running_var is not None
    torch.testing.assert_close(norm.running_mean, DATA.mean().view(1))
    torch.testing.assert_close(norm.running_var, DATA.var().view(1))


def test_only_batch_norm_statistics_change_and_the_network_stays_in_eval_mode() -> None:
    net = quantized(trained_like())
    before = copy.deepcopy(net.state_dict())
    tune_batch_norm(net, DATA, seed=0, n_batches=5, batch_size=16)
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name]) == ("running" not in name and "num_batches" not in name), name
    assert not any(module.training for module in net.modules())
    assert all(module.momentum == 0.1 for module in net.modules() if isinstance(module, nn.BatchNorm2d))


def test_the_same_seed_gives_the_same_statistics() -> None:
    first, second = (quantized(trained_like()) for _ in range(2))
    for net in (first, second):
        tune_batch_norm(net, DATA, seed=3, n_batches=5, batch_size=16)
    assert all(torch.equal(a, b) for a, b in zip(first.buffers(), second.buffers(), strict=True))


@pytest.mark.parametrize(("batch_size", "sizes"), [(16, [16] * 4), (24, [22, 21, 21]), (64, [64]), (100, [64])])
def test_every_image_comes_once_before_any_comes_again_and_then_in_another_order(
    batch_size: int, sizes: list[int]
) -> None:
    seen: list[Tensor] = []

    def note(batch: Tensor, generator: torch.Generator) -> Tensor:
        seen.append(batch)
        return batch

    n_batches = 3 * len(sizes) + 1
    tune_batch_norm(trained_like(), DATA, seed=0, n_batches=n_batches, batch_size=batch_size, augment=note)
    assert [len(batch) for batch in seen] == [*sizes * 3, sizes[0]]
    first, second = (torch.cat(seen[k * len(sizes) : (k + 1) * len(sizes)])[:, 0, 0, 0] for k in range(2))
    assert torch.equal(first.sort().values, DATA[:, 0, 0, 0].sort().values)
    assert torch.equal(second.sort().values, first.sort().values)
    assert not torch.equal(second, first)


def test_images_and_augmentation_are_drawn_on_the_cpu_wherever_the_images_are() -> None:
    """On the device "meta", which draws nothing: a generator there would fail."""
    drawn: list[torch.Generator] = []

    def images_of(indices: Tensor, generator: torch.Generator) -> Tensor:
        assert indices.device.type == "meta"
        drawn.append(generator)
        return DATA[:8]

    tune_batch_norm(trained_like(), torch.arange(16, device="meta"), 0, n_batches=2, batch_size=8, augment=images_of)
    assert [generator.device.type for generator in drawn] == ["cpu", "cpu"]


def test_with_a_momentum_late_batches_weigh_more_by_hand() -> None:
    seen: list[Tensor] = []

    def note(batch: Tensor, generator: torch.Generator) -> Tensor:
        seen.append(batch.mean())
        return batch

    net = nn.Sequential(nn.BatchNorm2d(1)).eval()
    tune_batch_norm(net, DATA, seed=0, n_batches=3, batch_size=16, augment=note, momentum=0.5)
    torch.testing.assert_close(net[0].running_mean, (seen[0] / 8 + seen[1] / 4 + seen[2] / 2).view(1))
    assert net[0].momentum == 0.1


def test_dropout_keeps_still_while_batch_norm_is_tuned() -> None:
    net = nn.Sequential(nn.Dropout(0.9), nn.BatchNorm2d(1)).eval()
    tune_batch_norm(net, DATA, seed=0, n_batches=1, batch_size=64)
    torch.testing.assert_close(net[1].running_mean, DATA.mean().view(1))


@pytest.mark.parametrize(("n_images", "batch_size"), [(0, 128), (1, 128), (64, 1), (64, 0), (3, 2)])
def test_batches_of_a_single_image_are_refused(n_images: int, batch_size: int) -> None:
    message = f"at least 2 images; got {n_images} images in batches of {batch_size}, calibrate on more"
    with pytest.raises(ValueError, match=message):
        tune_batch_norm(trained_like(), DATA[:n_images], seed=0, batch_size=batch_size)


def channel_means(net: nn.Module, name: str) -> Tensor:
    """Mean output of each channel of the norm or layer with this name."""
    seen: list[Tensor] = []
    hook = net.get_submodule(name).register_forward_hook(lambda *call: seen.append(call[2]))
    with torch.no_grad():
        net(DATA)
    hook.remove()
    return seen[0].transpose(0, 1).flatten(1).mean(1)


def test_after_bias_correction_the_mean_of_every_channel_is_the_float_networks() -> None:
    net = trained_like()
    mended = quantized(net)
    before = copy.deepcopy(mended.state_dict())
    assert correct_bias(net, mended, DATA) == []
    for name in ("bn1", "layer1.0.bn1", "layer2.0.bn2", "layer2.0.downsample.1", "fc"):
        torch.testing.assert_close(channel_means(mended, name), channel_means(net, name), atol=1e-4, rtol=1e-4)
    changed = {name for name, value in mended.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {name for name in before if "running_mean" in name} | {"fc.bias"}


def test_layers_with_neither_bias_nor_norm_are_told() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 8, bias=False), nn.ReLU(), nn.Linear(8, 2)).eval()
    assert correct_bias(net, quantized(net), DATA) == ["1"]


@pytest.mark.parametrize("batch_size", [1, 9, 63, 64, 1000])
def test_bias_correction_in_batches_of_any_size_equals_that_of_all_images_at_once(batch_size: int) -> None:
    net = trained_like()
    whole, parts = quantized(net), quantized(net)
    assert correct_bias(net, whole, DATA, batch_size=len(DATA)) == correct_bias(net, parts, DATA, batch_size) == []
    torch.testing.assert_close(parts.state_dict(), whole.state_dict(), rtol=1e-5, atol=1e-5)  # float32 sums


def test_bias_correction_never_runs_more_images_than_a_batch_and_keeps_no_value_that_is_done_with() -> None:
    """Walks a chain of layers: of all values that went into one, only those of the last are alive."""
    net = nn.Sequential(nn.Flatten(), *(nn.Linear(64, 64) for _ in range(6))).eval()
    mended = quantized(net)
    values: dict[int, weakref.ref[Tensor]] = {}

    def note(index: int, batch: Tensor) -> None:
        assert len(batch) <= 16
        value = batch._base  # of which the batch is a part
        assert value is not None
        values[index] = weakref.ref(value)
        assert [other for other, one in values.items() if one() is not None] == [index]

    for index, layer in enumerate(mended.children()):
        if index:  # what leaves nn.Flatten shares the images' memory
            layer.register_forward_pre_hook(lambda _, inputs, index=index: note(index, inputs[0]))
    correct_bias(net, mended, DATA, batch_size=16)
    assert len(values) == 6


class SharedNorm(nn.Module):
    """Two layers without biases, and one norm behind both."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 3, 3, bias=False), nn.Conv2d(3, 3, 3, padding=1, bias=False)
        self.norm, self.fc = nn.BatchNorm2d(3), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.fc(torch.relu(self.norm(self.b(torch.relu(self.norm(self.a(x)))))).mean((2, 3))))


def test_a_batch_norm_that_two_layers_share_is_not_moved() -> None:
    torch.manual_seed(0)
    net = SharedNorm().eval()
    mended = quantized(net)
    before = copy.deepcopy(mended.state_dict())
    assert correct_bias(net, mended, DATA) == ["a", "b"]
    changed = [name for name, value in mended.state_dict().items() if not torch.equal(value, before[name])]
    assert changed == ["fc.bias"]


def test_a_bias_that_two_layers_share_is_not_moved() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2)).eval()
    net[3].bias = net[1].bias
    mended = quantized(net)
    assert correct_bias(net, mended, DATA) == ["1", "3"]
    assert torch.equal(mended.get_parameter("1.bias"), net.get_parameter("1.bias"))


def test_layers_left_in_float_are_not_corrected() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 2)).eval()
    quantizer = NetworkQuantizer([net], DATA[None], Nearest(), [{"*": 1.58, "3": 32}], [0])
    quantizer.step()
    mended = quantizer.network(0, 0)
    assert correct_bias(net, mended, DATA, is_float=lambda name: name == "3") == []
    torch.testing.assert_close(channel_means(mended, "1"), channel_means(net, "1"), atol=1e-4, rtol=1e-4)
    assert torch.equal(mended.get_parameter("3.bias"), net.get_parameter("3.bias"))


@pytest.mark.parametrize("kind", ["Conv1d", "ConvTranspose2d", "MultiheadAttention"])
def test_the_mean_output_of_a_network_of_any_kind_of_layer_is_the_float_networks(kind: str) -> None:
    net, shape = kinds()[kind]
    net.eval()
    data = torch.rand(32, *shape, generator=torch.Generator().manual_seed(2))
    quantizer = NetworkQuantizer([net], data[None], Nearest(), [2], [0])
    for _ in quantizer.units:
        quantizer.step()
    mended = quantizer.network(0, 0)
    with torch.no_grad():
        wanted, before = net(data).mean(0), mended(data).mean(0)
        assert correct_bias(net, mended, data, batch_size=8) == []
        torch.testing.assert_close(mended(data).mean(0), wanted, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(before, wanted, atol=1e-3)
