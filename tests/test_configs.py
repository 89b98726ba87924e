"""Every shipped config is understood by whoever reads it; their tiny sisters are run by the other tests."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
import yaml

from callbacks import ThresholdAttack
from lit_privq.artifacts.checkpoint import read_checkpoint
from lit_privq.artifacts.config import config_tree
from lit_privq.audit.options import parse as parse_audit
from lit_privq.cli import PrivqCLI, run_cli
from lit_privq.cli import main as fit
from lit_privq.study.command import Hooks
from lit_privq.study.command import main as run_study
from lit_privq.study.study_file import read_study

ROOT = Path(__file__).parents[1] / "configs"
QUERY = ("--config", "model: {class_path: lit_privq.query.Query, init_args: {checkpoint: X.ckpt}}")
SISTERS = Path(__file__).parent / "conf"


def shipped(*patterns: str) -> list[str]:
    found = [str(path.relative_to(ROOT)) for pattern in patterns for path in sorted(ROOT.glob(pattern))]
    assert found
    return found


def parse(*configs: str, options: tuple[str, ...] = ()) -> PrivqCLI:
    files = [word for config in configs for word in ("--config", str(ROOT / config))]
    return run_cli([*files, *options], run=False)


@pytest.mark.parametrize("config", shipped("shadow/*.yaml", "recipe/**/*.yaml"))
def test_a_shadow_config_makes_a_classifier_and_writes_its_checkpoint(config: str) -> None:
    cli = parse(config)
    assert type(cli.model).__name__ == "Classifier"
    assert {callback.class_path.rpartition(".")[2] for callback in cli.config.trainer.callbacks} >= {
        "WriteCheckpoints",
        "WandbRuns",
    }
    assert cli.datamodule.n_shadows % 2 == 0
    assert cli.trainer.default_root_dir.startswith("runs/")
    recipe = cli.config.model.init_args
    if recipe.scheduler.class_path.endswith("CosineAnnealingLR"):
        assert recipe.scheduler.init_args.T_max == cli.trainer.max_epochs


@pytest.mark.parametrize("config", shipped("shadow/*.yaml", "recipe/**/*.yaml"))
def test_a_range_of_models_makes_a_fleet_of_the_same_recipe(config: str) -> None:
    cli = parse(config, options=("--data.model_index", "0:4"))
    assert type(cli.model).__name__ == "Fleet"
    assert cli.datamodule.models == (0, 1, 2, 3)


def test_recipes_differ_from_the_digits_in_what_their_names_say_and_share_its_pool_and_split() -> None:
    base = parse("shadow/digits.yaml").config
    shared = ("dataset", "n_shadows", "n_targets", "split_seed", "calibration_size", "n_queries")
    differ = {}
    for config in shipped("recipe/*.yaml"):
        found = parse(config).config
        assert {name: found.data[name] for name in shared} == {name: base.data[name] for name in shared}, config
        flat, plain = (dict(one.model.init_args.items(branches=False)) for one in (found, base))
        data, plain_data = (
            {name: one.data[name] for name in ("batch_size", "padding", "mirror")} for one in (found, base)
        )
        changed = {name for name in flat.keys() | plain.keys() if flat.get(name) != plain.get(name)}
        changed |= {name for name in data if data[name] != plain_data[name]}
        differ[Path(config).stem] = {name.rpartition(".")[2] for name in changed} - {"channels_last"}
    privacy = {"norm", "lr", "noise_multiplier", "max_grad_norm", "sampling", "delta"}
    assert differ == {
        "decay": {"weight_decay", "padding"},
        "smooth": {"label_smoothing"},
        "narrow": {"width"},
        "group_norm": {"norm"},
        "dp_sgd_low": privacy,
        "dp_sgd_medium": privacy,
    }


@pytest.mark.parametrize("config", shipped("recipe/*.yaml"))
def test_a_recipe_trains_a_fleet(config: str, tmp_path: Path) -> None:
    once = (
        "--data.model_index",
        "0:2",
        "--trainer.max_epochs",
        "1",
        "--trainer.callbacks",
        "callbacks.WriteCheckpoints",
    )
    fit(["fit", "--config", str(ROOT / config), "--trainer.default_root_dir", str(tmp_path), *once])
    made = [read_checkpoint(tmp_path / f"checkpoints/none-32/00{k}.ckpt")["lit_privq"] for k in (0, 1)]
    assert [one["index"] for one in made] == [0, 1]
    assert all((one.get("dp_sgd") is not None) == ("dp_sgd" in config) for one in made)
    assert "narrow" not in config or made[0]["size_bytes"] == 12_304  # as its head says


@pytest.mark.parametrize("config", shipped("model/*.yaml"))
def test_a_model_config_puts_its_network_under_the_same_recipe(config: str) -> None:
    plain, other = (parse(*configs).config.model.init_args for configs in (
        ("shadow/cifar100.yaml",), ("shadow/cifar100.yaml", config)
    ))  # fmt: skip
    function = Path(config).stem.partition("_")[0]
    assert other.net.class_path.endswith(f".{function}")
    assert {**other.as_dict(), "net": None} == {**plain.as_dict(), "net": None}


@pytest.mark.parametrize("config", shipped("ptq/**/*.yaml"))
def test_a_methods_config_says_only_what_is_the_methods(config: str, study: Path) -> None:
    assert set(yaml.safe_load((ROOT / config).read_text())["model"]["init_args"]) <= {
        "method", "bias_correction", "batch_norm_batches", "batch_norm_momentum",
    }  # fmt: skip
    options = ("--model.checkpoint", str(study / "checkpoints/none-32/000.ckpt"), "--model.bits", "2")
    cli = parse(config, options=options)
    assert type(cli.model).__name__ == ("QuantizationAwareTraining" if "qat" in config else "Calibration")
    assert cli.datamodule.n_shadows == 4  # the checkpoint's own split
    assert cli.trainer.max_epochs == -1


@pytest.mark.parametrize("config", shipped("query/*.yaml"))
def test_a_query_config_asks_as_its_data_config_says(config: str) -> None:
    cli = parse(config, options=QUERY)
    data = yaml.safe_load((ROOT / "data" / Path(config).name).read_text())
    assert type(cli.model).__name__ == "Query"
    assert len(cli.datamodule.queries) == data["n_queries"]
    assert {callback.class_path.rpartition(".")[2] for callback in cli.config.trainer.callbacks} >= {"DumpLogits"}


@pytest.mark.parametrize("config", shipped("audit/*.yaml"))
def test_an_audit_config_defines_attacks(config: str) -> None:
    audit = parse_audit(["--config", str(ROOT / config), "--input", "somewhere", "--output", "elsewhere"])
    assert audit.chosen()
    assert max(audit.max_fpr) < 0.5


@pytest.mark.parametrize("config", shipped("study/*.yaml"))
def test_a_study_can_be_planned_and_prints_its_commands(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    described = read_study(ROOT / config)
    unknown = Hooks("builtins:nothing", "builtins:nothing", "builtins:nothing")  # measures nothing, reads no data
    run_study(["--config", str(ROOT / config), "--output", str(tmp_path / "out"), "--dry_run"], unknown)
    commands = capsys.readouterr().out.splitlines()
    assert all(command.startswith("python -m lit_privq ") for command in commands)
    jobs = [command.split()[4] for command in commands]
    assert jobs[-2:] == ["audit", "report"]
    queried = {job.rsplit("-", 2)[0].removeprefix("query-") for job in jobs if job.startswith("query-")}
    assert queried == {variant.name for variant in described.variants}
    assert not (tmp_path / "out").exists()


def test_every_small_study_of_what_the_paper_does_has_its_protocol_as_a_sister() -> None:
    names = {Path(config).stem.rpartition("_")[0] for config in shipped("study/*_gpu.yaml", "study/*_small.yaml")}
    figures = {"networks": "fig5", "variance": "fig6"}
    for name in names - {"rivals", "memorization"}:  # beyond the paper
        assert read_study(ROOT / f"study/{figures.get(name, name)}.yaml").n_shadows == 64


@pytest.mark.parametrize("config", shipped("study/*_gpu.yaml", "study/*_small.yaml"))
def test_a_study_of_real_data_has_canaries_and_two_methods_against_adaptive_attackers(config: str) -> None:
    study = read_study(ROOT / config)
    assert all(config_tree(Path(one.shadow))["data"]["dataset"]["init_args"]["count"] > 0 for one in study.recipes)
    assert len({row.name for row in study.quantize if row.adaptive}) >= 2
    attacked = study.n_shadows if "leave_one_out" in study.audit else study.n_targets
    assert study.n_shadows >= 16
    assert attacked >= 4
    assert any(1.58 in row.bits for row in study.quantize)


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "fashion_mnist", "tinyimagenet"])
def test_a_data_sets_study_for_a_gpu_has_all_methods_at_the_papers_bits(name: str) -> None:
    rows = {row.name: set(map(str, row.bits)) for row in read_study(ROOT / f"study/{name}_gpu.yaml").quantize}
    learned = {"adaround_short", "brecq_short"}
    assert all(rows[method] >= {"4.0", "2.0", "1.58"} for method in ("nearest", "obc", "descent", *learned))


@pytest.mark.parametrize(
    ("baseline", "rivals", "names"),
    [
        ("cifar100_width32_gpu", "gpu", {"decay", "narrow", "group_norm", "dp_sgd_low", "dp_sgd_medium"}),
        ("rivals_small", "small", {"narrow", "dp_sgd", "dp_sgd_medium"}),
    ],
)
def test_rivals_differ_from_their_baseline_in_what_their_names_say(baseline: str, rivals: str, names: set[str]) -> None:
    private = {"net", "optimizer", "channels_last", "dp_sgd"}
    says = {"decay": {"optimizer"}, "narrow": {"net"}, "group_norm": {"net", "channels_last"}}
    base = config_tree(ROOT / f"shadow/{baseline}.yaml")
    differ = {}
    for config in shipped(f"recipe/{rivals}/*.yaml"):
        found = config_tree(ROOT / config)
        assert {key: found[key] for key in ("data", "trainer")} == {key: base[key] for key in ("data", "trainer")}
        ours, theirs = (one["model"]["init_args"] for one in (base, found))
        differ[Path(config).stem] = {key for key in theirs if theirs[key] != ours.get(key)}
    assert differ == {name: says.get(name, private) for name in names}


def test_a_querys_config_takes_the_callbacks_that_attack() -> None:
    cli = parse("query/digits.yaml", "trainer/audit.yaml", options=QUERY)
    names = [type(callback).__name__ for callback in cli.trainer.callbacks]
    assert [name for name in names if name in ("DumpLogits", "ThresholdAttack", "MembershipAudit")] == [
        "DumpLogits", "ThresholdAttack", "MembershipAudit",
    ]  # fmt: skip
    attack = next(callback for callback in cli.trainer.callbacks if isinstance(callback, ThresholdAttack))
    assert attack.metric.max_fpr == 0.01


def test_no_config_is_left_out() -> None:
    kinds = {"data", "trainer", "shadow", "model", "ptq", "query", "audit", "indicator", "study", "sweep", "recipe"}
    assert {path.parts[0] for path in (Path(config) for config in shipped("**/*.yaml"))} == kinds


@pytest.mark.parametrize("config", shipped("**/*.yaml"))
def test_a_config_opens_with_its_own_path_and_says_what_it_is_for(config: str) -> None:
    first = (ROOT / config).read_text().splitlines()[0]
    assert first.startswith(f"# configs/{config}: ")


@pytest.mark.slow
def test_the_tiny_sister_of_the_demo_runs_from_the_study_file_to_the_page(tmp_path: Path) -> None:
    run_study(["--config", str(SISTERS / "study/digits.yaml"), "--output", str(tmp_path), "--jobs", "1"])
    rows = list(csv.DictReader((tmp_path / "results.csv").read_text().splitlines()))
    assert {(row["method"], row["bits"], row["last_bits"]) for row in rows} == {
        ("none", "32", "32"), ("nearest", "2", "2"), ("adaround", "2", "2"), ("adaround", "1.58", "8"),
    }  # fmt: skip
    assert {row["target"] for row in rows} == {"4", "5"}
    assert "<html" in (tmp_path / "report.html").read_text()


def test_every_config_is_named_in_their_readme_and_every_name_there_is_one() -> None:
    named = set(re.findall(r"`([a-z]+(?:/\w+)+)`", (ROOT / "README.md").read_text(encoding="utf-8")))
    named = {name for name in named if name.partition("/")[0] in {path.name for path in ROOT.iterdir()}}
    assert named == {path.relative_to(ROOT).with_suffix("").as_posix() for path in ROOT.rglob("*.yaml")}
