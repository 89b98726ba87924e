"""What a study asks of real data, networks and methods; everything else runs on the fakes of conftest.py."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

from lit_privq.artifacts.codes import stored_layer
from lit_privq.artifacts.variant import for_network
from lit_privq.models.small import small_resnet
from lit_privq.quantization.layers import last_layer
from lit_privq.quantization.nearest import Nearest
from lit_privq.quantization.network import NetworkQuantizer
from lit_privq.study.facts import _bytes, facts
from lit_privq.study.plan import shared_options
from lit_privq.study.study_file import Recipe, Study, read_study


@pytest.fixture
def study(conf: Path) -> Study:
    return read_study(conf / "study/digits.yaml")


def test_data_network_and_methods_tell_their_names_and_sizes(study: Study) -> None:
    found = facts(study, shared_options(study))
    assert (found["dataset"], found["net"], found["examples"]) == ("digits", "small_resnet-w4", 1797)
    assert found["titles"] == {"nearest": "Nearest", "adaround": "AdaRound"}
    assert found["code_bytes"][""] < found["float_bytes"][""]
    assert found["fixed"] == ["nearest"], "neither a seed nor calibration examples enter it"


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ("{class_path: lit_privq.data.Digits, init_args: {pool_size: 70}}", "the same examples; other has 70, the fir"),
        (
            "{class_path: lit_privq.data.GaussianModes}",
            "the same pool; other has gaussian-4, the first digits: name the same",
        ),
    ],
)
def test_a_recipe_of_other_examples_or_labels_is_refused(
    study: Study, tmp_path: Path, data: str, sentence: str
) -> None:
    folder = Path(study.shadow).parents[1] / "data"
    plain = {"dataset": yaml.safe_load(data), "padding": 0, "mirror": False, "n_queries": 1}
    tree = yaml.safe_load((folder / "digits.yaml").read_text()) | plain
    (tmp_path / "data.yaml").write_text(yaml.safe_dump(tree))
    (tmp_path / "other.yaml").write_text(Path(study.shadow).read_text().replace("../data/digits.yaml", "data.yaml"))
    other = replace(study, recipes=[*study.recipes, Recipe("other", str(tmp_path / "other.yaml"))])
    with pytest.raises(ValueError, match=sentence):
        facts(other, shared_options(study))


class Unfit(nn.Module):
    """A network that cannot be traced: what it does depends on what it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(64, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.fc(images.flatten(1))
        return -outputs if outputs.sum() > 0 else outputs


def test_a_network_that_no_method_can_take_is_refused_with_the_method_and_the_reason(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lit_privq.study.facts.build", lambda _: Unfit())
    with pytest.raises(ValueError, match=r"nearest.yaml cannot quantize this network: .*"):
        facts(study, shared_options(study))


def test_a_misspelt_class_path_is_named_with_its_option_in_one_sentence(study: Study, tmp_path: Path) -> None:
    shadow = tmp_path / "shadow.yaml"
    text = Path(study.shadow).read_text().replace("small_resnet", "smal_resnet")
    shadow.write_text(text.replace("../data", str(Path(study.shadow).parents[1] / "data")))
    misspelt = replace(study, recipes=[Recipe("default", str(shadow))])
    with pytest.raises(ValueError, match=r"shadow\.yaml: model\.net: there is no class or function .*smal_resnet \("):
        facts(misspelt, shared_options(study))


def test_each_recipe_has_the_size_of_its_own_network_and_is_held_against_the_data(study: Study, tmp_path: Path) -> None:
    text = Path(study.shadow).read_text().replace("../data", str(Path(study.shadow).parents[1] / "data"))
    wide, wrong = tmp_path / "wide.yaml", tmp_path / "wrong.yaml"
    wide.write_text(text.replace("width: 4", "width: 8"))
    wrong.write_text(text.replace("num_classes: 10", "num_classes: 7"))
    rows = [replace(row, recipes=["default", "wide"]) for row in study.quantize]
    both = replace(study, recipes=[*study.recipes, Recipe("wide", str(wide))], quantize=rows)
    found = facts(both, shared_options(study))
    assert found["net"] == "small_resnet-w4, small_resnet-w8"
    assert found["float_bytes"]["wide"] > 2 * found["float_bytes"][""]
    with pytest.raises(ValueError, match=r"num_classes to 10"):
        facts(replace(study, recipes=[*study.recipes, Recipe("wrong", str(wrong))]), shared_options(study))


def test_a_calibration_set_that_no_model_can_fill_is_refused_before_anything_is_trained(study: Study) -> None:
    with pytest.raises(ValueError, match="calibration_size must lie between 1 and"):
        facts(study, [*shared_options(study), "--data.calibration_size", "5000"])


def test_a_quantized_checkpoint_is_as_large_as_it_is_said_to_be() -> None:
    net = small_resnet(num_classes=10, in_channels=1, width=16).eval()
    quantizer = NetworkQuantizer([net], torch.rand(1, 4, 1, 8, 8), Nearest(), [for_network(2, last_layer(net))], [0])
    for _ in quantizer.units:
        quantizer.step()
    layers = {name: stored_layer(net, name, layer, 2) for name, layer in quantizer.codes(0, 0).items()}
    parts = [part for layer in layers.values() for part in layer.values() if isinstance(part, torch.Tensor)]
    stored = sum(part.numel() * part.element_size() for part in parts)
    weights = sum(4 * net.get_submodule(name).weight.numel() for name in layers)
    whole, packed = _bytes(net)
    assert packed == pytest.approx(whole - weights + stored, rel=0.01)


def test_a_recipe_that_cannot_be_built_is_refused_in_one_sentence(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The parser would say first what else an option of that type may be."""
    monkeypatch.setattr("lit_privq.dp_sgd.accountant.find_spec", lambda name: None)
    shadow = Path(study.shadow).read_text().replace("../data", str(Path(study.shadow).parents[1] / "data"))
    private = tmp_path / "private.yaml"
    tree = yaml.safe_load(shadow)
    tree["model"]["init_args"]["dp_sgd"] = {"noise_multiplier": 0.3}
    private.write_text(yaml.safe_dump(tree))
    other = replace(study, recipes=[*study.recipes, Recipe("private", str(private))])
    with pytest.raises(ValueError, match=r"private\.yaml: .*pip install 'lit_privq\[dp\]'") as caught:
        facts(other, shared_options(study))
    assert "Does not validate" not in str(caught.value)


def test_a_network_that_dp_sgd_cannot_take_is_refused_before_anything_is_trained(study: Study, tmp_path: Path) -> None:
    tree = yaml.safe_load(Path(study.shadow).read_text())
    tree["data"] = str(Path(study.shadow).parent / tree["data"])
    tree["model"]["init_args"]["dp_sgd"] = {"noise_multiplier": 0.3, "sampling": "shuffled"}
    (tmp_path / "private.yaml").write_text(yaml.safe_dump(tree))
    other = replace(study, recipes=[*study.recipes, Recipe("private", str(tmp_path / "private.yaml"))])
    with pytest.raises(ValueError, match=r"private\.yaml: .* batch norm mixes them; got layer bn1"):
        facts(other, shared_options(study))
