import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from lit_privq.data.membership import half_membership
from lit_privq.indicator.heads import HeadData, HeadRecipe, head_losses, head_outputs, train_heads


@pytest.fixture
def task() -> HeadData:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(60, 5, generator=generator)
    labels = (inputs[:, 0] > 0).long() + (inputs[:, 1] > 0).long()
    return HeadData(inputs[:40], labels[:40], inputs[40:], labels[40:], 3)


def test_heads_compute_what_a_network_of_the_same_weights_computes(task: HeadData) -> None:
    first, second = ([nn.Linear(a, b, bias=False) for _ in range(4)] for a, b in ((5, 7), (7, 3)))
    layers = [torch.stack([layer.weight.detach() for layer in depth]) for depth in (first, second)]
    expected = torch.stack([two(one(task.inputs).relu()) for one, two in zip(first, second, strict=True)])
    torch.testing.assert_close(head_outputs(layers, task.inputs), expected.detach())
    torch.testing.assert_close(head_outputs(layers, task.inputs.expand(4, -1, -1)), expected.detach())


def test_losses_are_cross_entropy_of_classes_and_squares_of_values() -> None:
    outputs = torch.randn(2, 6, 3, generator=torch.Generator().manual_seed(1))
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    expected = torch.stack([functional.cross_entropy(one, labels, reduction="none") for one in outputs])
    torch.testing.assert_close(head_losses(outputs, labels), expected)
    values = labels.float()
    torch.testing.assert_close(head_losses(outputs[..., :1], values), (outputs[..., 0] - values) ** 2)


def test_a_head_is_trained_the_same_alone_and_among_others(task: HeadData) -> None:
    members = half_membership(6, 40, seed=0)
    recipe = HeadRecipe(hidden=4, epochs=5, snapshots=2, batch_size=8)
    together, alone = train_heads(task, members, recipe), train_heads(task, members[:1], recipe)
    for one, other in zip(together[-1], alone[-1], strict=True):
        torch.testing.assert_close(
            one[:1], other, rtol=1e-5, atol=1e-6
        )  # batched and single products round differently


def test_heads_learn_and_see_nothing_but_their_members(task: HeadData) -> None:
    members = half_membership(2, 40, seed=0)
    recipe = HeadRecipe(epochs=60, snapshots=1, learning_rate=0.3)
    trained = train_heads(task, members, recipe)[-1]
    assert (head_outputs(trained, task.inputs).argmax(-1) == task.targets)[
        torch.from_numpy(members)
    ].float().mean() > 0.7
    other = HeadData(task.inputs.clone(), task.targets, task.test_inputs, task.test_targets, 3)
    other.inputs[~members[0]] += 100
    assert torch.equal(train_heads(other, members, recipe)[-1][0][0], trained[0][0])


def test_the_last_snapshots_are_kept_and_the_final_weights_are_last(task: HeadData) -> None:
    members = half_membership(2, 40, seed=0)
    epochs = train_heads(task, members, HeadRecipe(epochs=5, snapshots=5, spacing=0, batch_size=10))
    steps = train_heads(task, members, HeadRecipe(epochs=5, snapshots=3, spacing=1, batch_size=10))
    shorter = train_heads(task, members, HeadRecipe(epochs=4, snapshots=1, batch_size=10))
    assert (len(epochs), len(steps)) == (5, 3)
    assert torch.equal(epochs[-1][0], steps[-1][0])
    assert torch.equal(epochs[-2][0], shorter[-1][0])
    assert not torch.equal(steps[-2][0], steps[-1][0])


def test_unequal_training_sets_are_refused(task: HeadData) -> None:
    members = np.zeros((2, 40), dtype=bool)
    members[0, :3] = members[1, :4] = True
    with pytest.raises(ValueError, match="equally many examples; got 3 to 4"):
        train_heads(task, members, HeadRecipe(epochs=1, snapshots=1))


def test_divergence_is_an_error(task: HeadData) -> None:
    values = HeadData(task.inputs, task.targets.float(), task.test_inputs, task.test_targets.float(), 0)
    with pytest.raises(ValueError, match="diverged; lower learning_rate, now 100"):
        train_heads(values, half_membership(2, 40, seed=0), HeadRecipe(epochs=50, snapshots=1, learning_rate=100.0))


def test_training_must_last_for_the_snapshots(task: HeadData) -> None:
    with pytest.raises(ValueError, match="4 snapshots need 4 steps; got 3, add epochs"):
        train_heads(task, half_membership(2, 40, seed=0), HeadRecipe(epochs=3, snapshots=4))
