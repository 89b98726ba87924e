from __future__ import annotations

import copy
from typing import cast

import pytest
import torch
from torch import Tensor, nn

from lit_privq.models.small import small_resnet
from lit_privq.quantization.batchnorm import correct_bias, tune_batch_norm
from lit_privq.quantization.nearest import Nearest
from lit_privq.quantization.network import NetworkQuantizer

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


def test_each_batch_is_augmented_and_drawn_without_replacement() -> None:
    seen: list[Tensor] = []

    def note(batch: Tensor, generator: torch.Generator) -> Tensor:
        seen.append(batch.flatten(1)[:, 0].clone())
        return batch

    tune_batch_norm(trained_like(), DATA, seed=0, n_batches=7, batch_size=16, augment=note)
    assert len(seen) == 7
    assert all(len(batch.unique()) == 16 for batch in seen)
    assert not torch.equal(seen[0], seen[1])


def test_dropout_keeps_still_while_batch_norm_is_tuned() -> None:
    net = nn.Sequential(nn.Dropout(0.9), nn.BatchNorm2d(1)).eval()
    tune_batch_norm(net, DATA, seed=0, n_batches=1, batch_size=64)
    torch.testing.assert_close(net[1].running_mean, DATA.mean().view(1))


def test_a_single_image_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 images; got 1 images"):
        tune_batch_norm(trained_like(), DATA[:1], seed=0)


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
