from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn
from torch.nn import functional

from lit_privq import DPSGD
from lit_privq.dp_sgd import accountant
from lit_privq.dp_sgd.dp_sgd import clipped_sum
from lit_privq.dp_sgd.per_example import watched
from lit_privq.models.small import small_resnet

BATCH = 8


def network() -> nn.Module:
    torch.manual_seed(0)
    return small_resnet(5, width=4, norm="group")


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(BATCH, 1, 8, 8, generator=generator), torch.randint(5, (BATCH,), generator=generator)


def gradients(net: nn.Module, dp_sgd: DPSGD, seed: int = 0) -> list[Tensor]:
    images, labels = batch()
    with watched(net.modules()) as calls:
        loss = functional.cross_entropy(net(images), labels, reduction="sum")
    dp_sgd.backward(loss, calls, [net], [torch.Generator().manual_seed(seed)], batch_size=BATCH)
    return [parameter.grad for parameter in net.parameters() if parameter.grad is not None]


def test_without_noise_and_with_a_wide_clip_it_is_the_ordinary_gradient() -> None:
    net, (images, labels) = network(), batch()
    private = gradients(net, DPSGD(0, max_grad_norm=1e6))
    expected = torch.autograd.grad(functional.cross_entropy(net(images), labels), list(net.parameters()))
    torch.testing.assert_close(private, list(expected), rtol=1e-4, atol=1e-6)  # float32, another order of sums


@pytest.mark.filterwarnings("ignore:Full backward hook")  # of opacus
def test_without_noise_a_step_equals_that_of_opacus() -> None:
    from opacus import GradSampleModule
    from opacus.optimizers import DPOptimizer

    net, (images, labels), clip = network(), batch(), 0.5
    private = gradients(net, DPSGD(0, max_grad_norm=clip))
    theirs = GradSampleModule(network())
    optimizer = DPOptimizer(
        torch.optim.SGD(theirs.parameters(), lr=1.0),
        noise_multiplier=0.0,
        max_grad_norm=clip,
        expected_batch_size=BATCH,
    )
    functional.cross_entropy(theirs(images), labels).backward()
    optimizer.pre_step()
    expected = [parameter.grad for parameter in theirs.parameters()]
    assert len(private) == len(expected)
    for ours, other in zip(private, expected, strict=True):  # opacus adds 1e-6 to each norm before it divides
        torch.testing.assert_close(ours, other, rtol=1e-4, atol=1e-6)


def test_noise_has_the_stated_scale_and_is_normal() -> None:
    net, dp_sgd = network(), DPSGD(0.7, max_grad_norm=2.0)
    clean = torch.cat([one.flatten() for one in gradients(net, DPSGD(0, max_grad_norm=2.0))])
    noise = []
    for seed in range(40):
        noisy = torch.cat([one.flatten() for one in gradients(net, dp_sgd, seed)])
        noise.append((noisy - clean) * BATCH / (0.7 * 2.0))
    drawn = torch.cat(noise).double().numpy()  # some 50,000 numbers
    assert abs(drawn.mean()) < 5 / math.sqrt(drawn.size)
    assert abs(drawn.var() - 1) < 5 * math.sqrt(2 / drawn.size)
    assert stats.kstest(drawn, "norm").pvalue > 1e-4
    correlation = np.corrcoef(noise[0], noise[1])[0, 1]
    assert abs(correlation) < 5 / math.sqrt(len(noise[0]))


def test_noise_does_not_depend_on_the_data() -> None:
    one, other = network(), network()
    other.load_state_dict({name: value + 1 for name, value in other.state_dict().items()})
    drawn = []
    for net in (one, other):
        noisy, clean = (gradients(net, DPSGD(scale)) for scale in (5.0, 0.0))
        drawn.append(torch.cat([(a - b).flatten() for a, b in zip(noisy, clean, strict=True)]))
    torch.testing.assert_close(drawn[0], drawn[1], rtol=1e-4, atol=1e-4)


def test_one_example_moves_the_sum_by_no_more_than_the_clip() -> None:
    generator = torch.Generator().manual_seed(0)
    many = [100 * torch.randn(9, 1, size, generator=generator) for size in (30, 7, 1)]
    whole, without = clipped_sum(many, 1.5), clipped_sum([one[1:] for one in many], 1.5)
    assert (whole - without).norm() == pytest.approx(1.5, rel=1e-5)


def test_an_empty_batch_steps_by_noise_alone() -> None:
    net = network()
    with watched(net.modules()) as calls:
        loss = functional.cross_entropy(
            net(torch.zeros(0, 1, 8, 8)), torch.zeros(0, dtype=torch.int64), reduction="sum"
        )
    DPSGD(1.0).backward(loss, calls, [net], [torch.Generator().manual_seed(0)], batch_size=1.0)
    drawn = torch.cat([parameter.grad.flatten() for parameter in net.parameters() if parameter.grad is not None])
    assert drawn.std().item() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"noise_multiplier": -0.1}, r"noise_multiplier of DP-SGD must be a number of at least 0.*got -0\.1"),
        ({"noise_multiplier": math.nan}, r"noise_multiplier of DP-SGD must.*got nan"),
        ({"noise_multiplier": math.inf}, r"noise_multiplier of DP-SGD must.*got inf"),
        (
            {"noise_multiplier": 1.0, "max_grad_norm": 0.0},
            r"max_grad_norm of DP-SGD must be a number above 0.*got 0\.0",
        ),
        ({"noise_multiplier": 1.0, "max_grad_norm": math.inf}, r"max_grad_norm of DP-SGD must.*got inf"),
        ({"noise_multiplier": 1.0, "delta": 1.0}, r"delta of DP-SGD must lie between 0 and 1.*got 1\.0"),
        (
            {"noise_multiplier": 1.0, "sampling": "random"},
            r"sampling of DP-SGD must be poisson or shuffled; got random",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(options: Mapping[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DPSGD(**options)


def test_missing_opacus_is_refused_by_the_name_of_its_extra_and_not_needed_without_a_guarantee(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(accountant, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'lit_privq\[dp\]'"):
        DPSGD(0.3)
    assert DPSGD(0.3, sampling="shuffled").spent(0.1, 300)["epsilon"] is None


@pytest.mark.parametrize("dp_sgd", [DPSGD(0.3, sampling="shuffled"), DPSGD(0.0)])
def test_there_is_no_epsilon_without_poisson_sampling_or_noise(dp_sgd: DPSGD) -> None:
    assert dp_sgd.spent(0.1, 300)["epsilon"] is None
