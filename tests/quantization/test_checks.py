from __future__ import annotations

from dataclasses import replace
from typing import cast

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lit_privq.models.small import small_resnet
from lit_privq.quantization.brecq import BRECQ
from lit_privq.quantization.checks import Bits, bits_of, free_memory, looks_like_softmax
from lit_privq.quantization.method import Method
from lit_privq.quantization.nearest import Nearest
from lit_privq.quantization.network import NetworkQuantizer
from lit_privq.quantization.obc import OBC
from tests.quantization.networks import Altered, Free, images, quantize, refused, small


def test_the_last_matching_pattern_wins() -> None:
    assert bits_of("layer1.conv", {"layer1.*": 4, "*": 2}) == 2
    assert bits_of("layer1.conv", {"*": 2, "layer1.*": 4}) == 4


def test_a_layer_that_no_pattern_matches_is_named() -> None:
    with pytest.raises(ValueError, match=r"no pattern of bits matches layer layer1\.0\.conv1"):
        NetworkQuantizer([small(0)], images(1), Nearest(), [{"conv1": 8, "fc": 8}], [0])


def test_a_pattern_that_matches_no_layer_is_named() -> None:
    with pytest.raises(ValueError, match="'last' of bits matches no layer; the layers are conv1"):
        NetworkQuantizer([small(0)], images(1), Nearest(), [{"*": 2, "last": 8}], [0])


@pytest.mark.parametrize("bits", [0.5, 8.1, 12, 16])
def test_bits_that_no_byte_holds_are_refused_with_the_layer_before_anything_is_solved(bits: float) -> None:
    with pytest.raises(ValueError, match=f"layer fc: bits must lie between 1 and 8 .* one byte; got {bits}"):
        NetworkQuantizer([small(0)], images(1), Nearest(), [{"*": 2, "fc": bits}], [0])


def test_an_empty_list_of_bits_is_refused() -> None:
    with pytest.raises(ValueError, match="bits must hold at least one precision"):
        NetworkQuantizer([small(0)], images(1), Nearest(), [], [0])


def test_a_unit_whose_graph_does_not_reproduce_the_network_is_named() -> None:
    net = Free(
        lambda parts, x: parts.last(F.dropout(parts.first(x), training=True)),  # type: ignore[operator]
        first=nn.Linear(4, 64),
        last=nn.Linear(64, 2),
    )
    assert "unit last: the traced graph does not reproduce" in refused(net)


@pytest.mark.parametrize("other", [nn.Tanh(), nn.LeakyReLU(0.3)], ids=["tanh", "leaky"])
def test_networks_of_equal_shapes_and_other_activations_are_refused(other: nn.Module) -> None:
    nets: list[nn.Module] = [nn.Sequential(nn.Linear(4, 8), act, nn.Linear(8, 2)).eval() for act in (nn.ReLU(), other)]
    with pytest.raises(ValueError, match=r"the forward of model 1.*parts other than model 0's"):
        quantize(nets, torch.randn(2, 6, 4), Nearest(), [2])


METHODS = pytest.mark.parametrize("method", [Nearest(), BRECQ(iterations=2, fisher=True)], ids=["nearest", "fisher"])


@METHODS
def test_images_that_are_not_finite_are_refused_with_model_and_image(method: Method) -> None:
    data = images(2)
    data[1, 3, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match="1 of 12 calibration images of model 1 are not finite, the first is image 3"):
        quantize([small(0), small(1)], data, method, [2])


@METHODS
def test_parameters_that_are_not_finite_are_refused_with_model_and_name(method: Method) -> None:
    nets = [small(0), small(1)]
    nets[1].get_parameter("fc.weight").data[0, 0] = torch.inf
    with pytest.raises(ValueError, match=r"parameters of model 1 are not finite: \['fc.weight'\]"):
        quantize(nets, images(2), method, [2])


def test_activations_that_are_not_finite_are_refused_with_unit_and_model() -> None:
    nets = [small(0), small(1)]
    nets[1].get_buffer("bn1.running_mean")[0] = torch.nan
    with pytest.raises(ValueError, match="unit conv1: activations of model 1 are not finite"):
        quantize(nets, images(2), Nearest(), [2])
    with pytest.raises(ValueError, match="model 1: the network's output on its calibration images is not finite"):
        quantize(nets, images(2), BRECQ(iterations=2, fisher=True), [2])


@METHODS
@pytest.mark.parametrize("layer", ["conv1", "fc"])
def test_activations_whose_squares_overflow_are_refused_with_unit_and_model(layer: str, method: Method) -> None:
    nets = [small(0), small(1)]
    nets[1].get_parameter(f"{layer}.weight").data.mul_(1e25)
    with pytest.raises(
        ValueError, match=rf"unit {layer}: activations of model 1 reach .*e\+2\d, whose squares overflow"
    ):
        quantize(nets, images(2), method, [2])
    assert quantize([net.double() for net in nets], images(2).double(), Nearest(), [2])[1][-1].error < 1


def test_weights_whose_squares_overflow_are_refused_with_unit_and_model() -> None:
    net = nn.Sequential(nn.Linear(4, 2)).eval()
    net.get_parameter("0.weight").data.mul_(1e25)
    assert "unit 0: weights of 0 of model 0 reach" in refused(net, 1e-25 * torch.ones(1, 4, 4))


def test_a_quantized_output_that_overflows_is_refused_with_unit_and_bits() -> None:
    huge = Altered(change=lambda one: replace(one, scale=torch.full_like(one.scale, 3e37)))
    data = 10 * torch.ones(1, 4, 4)
    with pytest.raises(ValueError, match="unit 0: the quantized output of model 0 at bits 2 is not finite"):
        quantize([nn.Sequential(nn.Linear(4, 2)).eval()], data, huge, [2])


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (
            torch.zeros(1, 4, 1, 8, 8, dtype=torch.uint8),
            r"each torch.uint8 \[1, 8, 8\].*convert them to .* torch.float32",
        ),
        (torch.zeros(1, 4, 1, 8, 8, dtype=torch.float64), "convert them to the network's torch.float32"),
        (torch.zeros(1, 4, 3, 8, 8), r"each torch.float32 \[3, 8, 8\] on cpu; give them in the shape"),
        (torch.zeros(1, 4, 64), r"each torch.float32 \[64\] on cpu; give them in the shape"),
    ],
    ids=["uint8", "float64", "channels", "flat"],
)
def test_images_that_the_network_does_not_take_are_refused(data: Tensor, sentence: str) -> None:
    with pytest.raises(ValueError, match=f"model 0 does not run on its calibration images, .*{sentence}"):
        quantize([small(0)], data, Nearest(), [2])


def test_images_that_differ_in_shape_between_models_are_refused() -> None:
    with pytest.raises(ValueError, match=r"same number, shape and type; got \['torch.float32 \[11, 1, 8, 8\]'"):
        NetworkQuantizer([small(0), small(1)], [images(1)[0], images(1, 11)[0]], Nearest(), [2], [0, 1])


def test_no_calibration_data_is_refused() -> None:
    with pytest.raises(ValueError, match="no calibration data"):
        quantize([small(0)], images(1)[:, :0], Nearest(), [2])


def test_networks_in_training_mode_are_refused() -> None:
    with pytest.raises(ValueError, match=r"call eval\(\) on model 1"):
        quantize([small(0), small(1).train()], images(2), Nearest(), [2])


def test_networks_of_different_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"model 1 differs from model 0 in \['fc.bias'"):
        quantize([small(0), small_resnet(num_classes=4, width=4).eval()], images(2), Nearest(), [2])


def test_models_images_and_seeds_must_be_as_many() -> None:
    with pytest.raises(ValueError, match="one per model; got 1, 1 and 2"):
        NetworkQuantizer([small(0)], images(1), Nearest(), [2], seeds=[0, 1])


def test_a_solution_off_the_grid_is_an_error() -> None:
    broken = Altered(change=lambda one: replace(one, codes=one.codes + 0.5))
    with pytest.raises(ValueError, match="layer conv1: the method failed"):
        quantize([small(0)], images(1), broken, [2])


# ------------------------------------------------------------------------------------------------ left in float


def two(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)).eval()


def test_a_map_leaves_a_layer_in_float_at_32_bits() -> None:
    quantizer, reports = quantize([two(), two(1)], torch.randn(2, 8, 4), Nearest(), [{"*": 2, "2": 32}])
    assert quantizer.units == ("0",)
    assert quantizer.weights == ("0", "2")
    assert quantizer.float_weights(0) == ["2"]
    for model in range(2):
        assert list(quantizer.codes(model, 0)) == ["0"]
        assert torch.equal(quantizer.network(model, 0).get_parameter("2.weight"), two(model).get_parameter("2.weight"))
    assert len(reports) == 2


@pytest.mark.parametrize("bits", [32, {"*": 31}, {"*": 32.5}], ids=str)
def test_only_32_in_a_map_means_float(bits: Bits) -> None:
    with pytest.raises(ValueError, match="bits must lie between 1 and 8"):
        quantize([two()], torch.randn(1, 8, 4), Nearest(), [bits])


def test_a_precision_at_which_nothing_is_quantized_is_refused() -> None:
    with pytest.raises(ValueError, match="has no layer to quantize that is not left in float"):
        quantize([two()], torch.randn(1, 8, 4), Nearest(), [{"*": 32}])
    with pytest.raises(ValueError, match="leaves all 2 weights in float"):
        quantize([two()], torch.randn(1, 8, 4), Nearest(), [2, {"*": 32}])


# ------------------------------------------------------------------------------------------------ batches


class BatchMean(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.a(x)
        return cast(Tensor, self.b(hidden - hidden.mean(0)))


def test_a_network_whose_outputs_depend_on_the_batch_is_refused() -> None:
    with pytest.raises(ValueError, match="what enters layer b of model 0 depends on the other images of the batch"):
        quantize([BatchMean().eval()], torch.randn(1, 8, 4), Nearest(), [2])
    last = nn.Sequential(nn.Linear(4, 2), Free(lambda _, x: x - x.mean(0))).eval()
    with pytest.raises(ValueError, match="the output of model 0 depends on the other images"):
        quantize([last], torch.randn(1, 8, 4), Nearest(), [2])


def test_a_batch_norm_without_running_statistics_is_named() -> None:
    norm = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8, track_running_stats=False), nn.Linear(8, 2)).eval()
    with pytest.raises(ValueError, match="batch norm 1 of model 0 has no running statistics"):
        quantize([norm], torch.randn(1, 8, 4), Nearest(), [2])


# ------------------------------------------------------------------------------------------------ memory


def test_a_layer_whose_gram_matrix_does_not_fit_is_refused_before_anything_is_solved(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The head of a VGG has 25,088 columns: 6 x 8 x 25,088^2 bytes are 28.1 GiB for one model and precision."""
    monkeypatch.setattr("lit_privq.quantization.checks.free_memory", lambda device: 2**30)
    net = nn.Sequential(nn.Conv2d(1, 4, 1), nn.Flatten(), nn.Linear(25_088, 1)).eval()
    data = torch.randn(1, 2, 1, 64, 98)
    with pytest.raises(
        ValueError,
        match=r"layer 2 has 25,088 columns, .* need 56.3 GiB for 2 models and precisions, and 1.0 GiB are free",
    ) as error:
        NetworkQuantizer([net], data, OBC(), [2, 4], [0])
    assert '{"*": 2, "2": 32}' in str(error.value)
    assert NetworkQuantizer([net], data, OBC(), [{"*": 2, "2": 32}], [0]).units == ("0",)
    assert NetworkQuantizer([net], data, Nearest(), [2, 4], [0]).units == ("0", "2")


def test_the_memory_of_large_gram_matrices_is_said_before_the_start(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("lit_privq.quantization.checks.free_memory", lambda device: 2**40)
    with caplog.at_level("INFO"):
        NetworkQuantizer([nn.Sequential(nn.Linear(8192, 1)).eval()], torch.randn(1, 2, 8192), OBC(), [2], [0])
    assert [record.message for record in caplog.records] == [
        "layer 0 has 8,192 columns, whose second moments need 3.0 GiB"
    ]


def test_free_memory_is_what_the_machine_says() -> None:
    free = free_memory(torch.device("cpu"))
    assert free is None or 0 < free < 2**50


# ------------------------------------------------------------------------------------------------ answers


@pytest.mark.parametrize(
    ("answers", "wanted"),
    [
        (torch.randn(5, 4).softmax(1), True),
        (torch.tensor([[0.0, 1.0], [1.0, 0.0]]), True),
        (torch.randn(5, 4), False),
        (torch.rand(5, 4), False),
        (torch.randn(5, 4).log_softmax(1), False),
        (torch.ones(5, 1), False),
    ],
    ids=["softmax", "saturated", "logits", "uniform", "log_softmax", "a value"],
)
def test_probabilities_are_told_from_logits(answers: Tensor, wanted: bool) -> None:
    assert looks_like_softmax(answers) == wanted
