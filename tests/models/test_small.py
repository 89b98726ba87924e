import pytest
import torch
from jsonargparse import ArgumentError, ArgumentParser
from torch import nn

from lit_privq.models.small import small_resnet


@pytest.mark.parametrize(("side", "stages"), [(8, 2), (28, 3), (32, 3), (64, 4)])
def test_each_size_of_image_gives_one_logit_per_class(side: int, stages: int) -> None:
    net = small_resnet(num_classes=10, stages=stages)
    assert net(torch.zeros(2, 1, side, side)).shape == (2, 10)


def test_each_stage_has_one_block_and_doubles_the_channels() -> None:
    net = small_resnet(num_classes=10, width=6, stages=3)
    blocks = {name: module for name, module in net.named_children() if name.startswith("layer")}
    assert [len(list(stage.children())) for stage in blocks.values()] == [1, 1, 1]
    assert [stage.get_parameter("0.conv2.weight").shape[0] for stage in blocks.values()] == [6, 12, 24]


def test_no_stage_is_refused() -> None:
    with pytest.raises(ValueError, match=r"stages must be at least 1.*got 0"):
        small_resnet(num_classes=10, stages=0)


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        ("small.small_resnet", {"num_classes": 3, "width": 4}),
        ("resnet.resnet18", {"num_classes": 3, "width": 4}),
        ("densenet.densenet121", {"num_classes": 3, "growth": 4}),
        ("mlp.perceptron", {"num_classes": 3, "in_features": 64, "hidden": [8]}),
    ],
)
def test_a_config_names_a_network_by_class_path(function: str, arguments: dict[str, object]) -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--net", type=nn.Module)
    net = {"class_path": f"lit_privq.models.{function}", "init_args": arguments}
    assert arguments.items() <= parser.parse_object({"net": net}).net.init_args.as_dict().items()
    with pytest.raises(ArgumentError, match="misspelt"):
        parser.parse_object({"net": {**net, "init_args": {**arguments, "misspelt": 1}}})


@pytest.mark.parametrize("size", [16, 28, 32])
def test_a_stem_of_stride_2_halves_the_map_and_no_pixel_weighs_less_than_another_inside_it(size: int) -> None:
    stem = small_resnet(num_classes=10, in_channels=3, stages=4, stem_stride=2).conv1
    stem.weight.data.fill_(1.0)
    images = torch.zeros(1, 3, size, size, requires_grad=True)
    answers = stem(images)
    assert answers.shape == (1, 16, size // 2, size // 2)
    answers.sum().backward()
    weights = images.grad[:, :, 1:-1, 1:-1]
    assert torch.equal(weights, torch.full_like(weights, 4 * 16))


def test_a_stem_of_another_stride_is_refused() -> None:
    with pytest.raises(ValueError, match=r"stem_stride must be 1, or 2 for half the resolution; got 3"):
        small_resnet(num_classes=10, stem_stride=3)
