import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from lit_privq.study.plan import Fleets, Job, plan
from lit_privq.study.study_file import read_study

ROOT = Path("runs")


IN_PAIRS = Fleets(size=2)


def jobs_of(bench: Any, fleets: Fleets = IN_PAIRS, root: Path = ROOT) -> list[Job]:
    return plan(read_study(bench.config), root, fleets)


def recipes(jobs: list[Job]) -> dict[str, str]:
    return {product.path: product.recipe for job in jobs for product in job.products}


def changed(bench: Any, config: str, old: str, new: str) -> set[str]:
    """Files whose recipe another config changes, without their models."""
    before = recipes(jobs_of(bench))
    bench.change(config, old, new)
    after = recipes(jobs_of(bench))
    return {re.sub(r"/\d{3}\.\w+", "", path) for path, recipe in after.items() if before.get(path) != recipe}


def named(jobs: list[Job], name: str) -> Job:
    return next(job for job in jobs if job.name == name)


def test_a_plan_is_the_commands_a_person_could_type(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(bench.folder)
    jobs = plan(read_study(Path("configs/study/tiny.yaml")), ROOT, Fleets(size=6))
    shared = (
        "--data.n_shadows 4 --data.n_targets 2 --data.split_seed 3 --seed_everything 5 --trainer.default_root_dir runs"
    )
    none = "'runs/checkpoints/none-32/{index:03d}.ckpt'"
    nearest, adaround = (
        "'runs/checkpoints/nearest-4/{index:03d}.ckpt'",
        "'runs/checkpoints/adaround-2/{index:03d}.ckpt'",
    )
    fit, predict = "fit --config configs/ptq", "predict --config configs/query/tiny.yaml --ckpt_path"
    commands = [shlex.join(job.argv) for job in jobs]
    assert commands[:4] == [
        f"fit --config configs/shadow/tiny.yaml --data.model_index 0:6 {shared}",
        f"{fit}/nearest.yaml --model.name nearest --model.checkpoint {none} --data.model_index 0:6"
        f" --model.bits '[4, 1.58]' {shared}",
        f"{fit}/adaround.yaml --model.name adaround --model.checkpoint {none} --data.model_index 4:6"
        f""" --model.bits '[2, {{"*": 1.58, "last": 8}}]' {shared}""",
        f"{predict} {none} --data.model_index 0:6 {shared}",
    ]
    assert commands[4] == f"{predict} {nearest} --data.model_index 0:6 {shared}"
    assert f"{predict} {adaround} --data.model_index 4:6 {shared}" in commands
    assert commands[-2:] == [
        "audit --config configs/audit/tiny.yaml --input runs/confidence --output runs --n_targets 2 --report false",
        "report runs --data configs/shadow/tiny.yaml",
    ]


def test_a_method_is_named_by_its_config_alone(bench: Any) -> None:
    copy = bench.folder / "configs/ptq/copied.yaml"
    copy.write_text((bench.folder / "configs/ptq/nearest.yaml").read_text())
    bench.change("study/tiny.yaml", "ptq/nearest.yaml", "ptq/copied.yaml")
    (job,) = [job for job in jobs_of(bench, Fleets(size=6)) if "copied" in job.name and job.stage == "quantize"]
    assert job.argv[job.argv.index("--model.name") + 1] == "copied"
    assert "checkpoints/copied-4/000.ckpt" in job.outputs


def test_seeds_the_study_does_not_give_are_left_to_the_configs(bench: Any) -> None:
    bench.change("study/tiny.yaml", "split_seed: 3\nseed: 5\n", "")
    assert not any(
        option in job.argv for job in jobs_of(bench) for option in ("--data.split_seed", "--seed_everything")
    )


def test_jobs_that_read_checkpoints_trust_the_packages_of_the_studys_own_recipe(bench: Any) -> None:
    assert not any("--trust" in job.argv for job in jobs_of(bench))
    bench.change("shadow/tiny.yaml", "class_path: Classifier", "class_path: mine.Classifier")
    bench.change("study/tiny.yaml", "seed: 5\n", "seed: 5\ntrust: [other]\n")
    for job in jobs_of(bench):
        expected = job.stage in ("quantize", "query")
        assert (shlex.join(job.argv).find("--trust mine other --") > 0) == expected


def test_the_folder_of_the_data_is_passed_on(bench: Any) -> None:
    jobs = plan(read_study(bench.config), ROOT, IN_PAIRS, data_root=Path("sets"))
    assert all("--data.root" in job.argv for job in jobs if job.stage in ("train", "quantize", "query"))
    assert recipes(jobs) == recipes(jobs_of(bench)), "where the data lie changes nothing"


@pytest.mark.parametrize("n", [1, 2, 7, 20, 74])
@pytest.mark.parametrize("size", [1, 4, 10, 100])
def test_every_model_is_in_one_share_of_nearly_equal_ones_that_are_as_few_as_can_be(n: int, size: int) -> None:
    shares = Fleets(size).divide(range(5, 5 + n))
    assert [index for share in shares for index in share] == list(range(5, 5 + n))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert max(map(len, shares)) <= size
    assert len(shares) == -(-n // size)


def test_a_quantize_job_waits_only_for_its_own_models(bench: Any) -> None:
    jobs = jobs_of(bench, Fleets(size=2))
    assert named(jobs, "quantize-nearest-4+1.58-002-003").needs == ("train-002-003",)
    assert named(jobs, "query-nearest-4-002-003").needs == ("quantize-nearest-4+1.58-002-003",)


def test_an_unequal_deal_waits_for_every_job_it_draws_on(bench: Any) -> None:
    jobs = jobs_of(bench, Fleets(size=4))  # trained as 0:3 and 3:6, targets quantized as 4:6
    assert named(jobs, "quantize-adaround-2+1.58-last8-004-005").needs == ("train-003-005",)


def test_the_audit_waits_for_every_query_and_the_report_for_the_audit(bench: Any) -> None:
    jobs = jobs_of(bench)
    queries = {job.name for job in jobs if job.stage == "query"}
    assert set(named(jobs, "audit").needs) == queries
    assert named(jobs, "report").needs == ("audit",)


def test_jobs_come_after_what_they_need_and_have_names_of_their_own(bench: Any) -> None:
    names = [job.name for job in jobs_of(bench)]
    assert len(set(names)) == len(names)
    for position, job in enumerate(jobs_of(bench)):
        assert set(job.needs) <= set(names[:position])


def test_no_two_jobs_write_the_same_file(bench: Any) -> None:
    outputs = [path for job in jobs_of(bench) for path in job.outputs]
    assert len(set(outputs)) == len(outputs)
    assert "confidence/adaround-1.58-last8/005.npz" in outputs
    assert "confidence/adaround-2/000.npz" not in outputs, "shadows are quantized for adaptive attackers only"


def test_a_recipe_is_the_same_wherever_the_study_lies(new_bench: Any) -> None:
    here, there = new_bench("here"), new_bench("there")
    assert recipes(jobs_of(here, root=here.output)) == recipes(jobs_of(there, root=there.output))


DUMPS = {f"confidence/{name}" for name in ("none-32", "nearest-4", "nearest-1.58", "adaround-2", "adaround-1.58-last8")}
QUANTIZED = {f"checkpoints/{name}" for name in ("nearest-4", "nearest-1.58", "adaround-2", "adaround-1.58-last8")}


@pytest.mark.parametrize(
    ("config", "old", "new", "stale"),
    [
        ("data/tiny.yaml", "n_shadows: 4", "batch_size: 7", {"checkpoints/none-32", *DUMPS}),
        ("data/tiny.yaml", "n_shadows: 4", "n_queries: 18", DUMPS),
        ("data/tiny.yaml", "n_shadows: 4", "calibration_size: 64", QUANTIZED),
        ("data/tiny.yaml", "n_shadows: 4", "root: elsewhere", set()),
        ("shadow/tiny.yaml", "model:", "seed_everything: 9\nmodel:", set()),  # the study says 5
        ("shadow/tiny.yaml", "model:", "trainer: {max_epochs: 9}\nmodel:", {"checkpoints/none-32"}),
        ("shadow/tiny.yaml", "model:", "trainer: {enable_model_summary: false, callbacks: [a.B]}\nmodel:", set()),
        ("shadow/tiny.yaml", "data:", "# one of them\ndata:", set()),
        ("ptq/nearest.yaml", "Calibration", "Recalibration", {"checkpoints/nearest-4", "checkpoints/nearest-1.58"}),
        ("study/tiny.yaml", "bits: [4, 1.58]", "bits: [4, 2, 1.58]", {"checkpoints/nearest-2", "confidence/nearest-2"}),
        ("study/tiny.yaml", "n_targets: 2", "n_targets: 2\ntrust: [own]", set()),
        ("study/tiny.yaml", "split_seed: 3", "split_seed: 4", {"checkpoints/none-32", *QUANTIZED, *DUMPS}),
        ("audit/tiny.yaml", "attacks: []", "attacks: [a]", {"results.csv", "metrics.json", "vulnerability.npz"}),
    ],
)
def test_a_change_makes_stale_what_depends_on_it_and_nothing_else(
    bench: Any, config: str, old: str, new: str, stale: set[str]
) -> None:
    assert changed(bench, config, old, new) == stale


def test_one_more_target_changes_no_recipe_of_the_others(bench: Any) -> None:
    before = recipes(jobs_of(bench))
    bench.change("study/tiny.yaml", "n_targets: 2", "n_targets: 3")
    after = recipes(jobs_of(bench))
    assert before.items() <= after.items()
    assert all("/006." in path for path in set(after) - set(before))


def test_another_fleet_size_changes_no_recipe(bench: Any) -> None:
    assert recipes(jobs_of(bench, Fleets(size=1))) == recipes(jobs_of(bench, Fleets(size=6)))


def test_only_what_is_missing_is_planned(bench: Any) -> None:
    study = read_study(bench.config)
    missing = {"checkpoints/none-32/001.ckpt", "checkpoints/nearest-4/001.ckpt", "checkpoints/nearest-1.58/000.ckpt"}
    jobs = plan(study, ROOT, Fleets(size=6), only=missing)
    assert {path for job in jobs for path in job.outputs} == missing
    assert [job.name for job in jobs] == [
        "train-001-001", "quantize-nearest-1.58-000-000", "quantize-nearest-4-001-001",
    ]  # fmt: skip
    assert jobs[2].needs == ("train-001-001",)
    assert jobs[2].argv[jobs[2].argv.index("--model.bits") + 1] == "[4]"


def test_a_config_that_points_nowhere_is_named(bench: Any) -> None:
    bench.change("shadow/tiny.yaml", "../data/tiny.yaml", "../data/typo.yaml")
    with pytest.raises(FileNotFoundError, match=r"shadow/tiny.yaml names ../data/typo.yaml, but there is no"):
        jobs_of(bench)


def test_a_recipe_is_trained_and_quantized_by_itself_and_a_stop_by_the_training_it_belongs_to(bench: Any) -> None:
    bench.add_recipes()
    jobs = jobs_of(bench, Fleets(size=6))
    train, smooth = named(jobs, "train-000-005"), named(jobs, "train@smooth-000-005")
    assert train.argv[5:7] == ("--model.early", '{"short": 10}')
    assert {str(Path(path).parent) for path in train.outputs} == {"checkpoints/none-32", "checkpoints/none-32@short"}
    assert smooth.argv[5:7] == ("--model.recipe", "smooth")
    assert smooth.outputs[0] == "checkpoints/none-32@smooth/000.ckpt"
    for name, needs in (("smooth", "train@smooth-000-005"), ("short", "train-000-005")):
        job = named(jobs, f"quantize-nearest-4+1.58@{name}-000-005")
        assert f"runs/checkpoints/none-32@{name}/{{index:03d}}.ckpt" in job.argv
        assert job.needs == (needs,)
        assert job.outputs[0] == f"checkpoints/nearest-4@{name}/000.ckpt"
    assert named(jobs, "query-nearest-4@short-000-005").outputs[0] == "confidence/nearest-4@short/000.npz"
    assert not [job for job in jobs if "adaround" in job.name and "@" in job.name]


def test_the_audit_is_told_the_recipes_and_a_study_of_one_is_as_it_was(bench: Any) -> None:
    assert "--recipes" not in named(jobs_of(bench), "audit").argv
    bench.add_recipes()
    argv = named(jobs_of(bench), "audit").argv
    at = argv.index("--recipes")
    assert argv[at + 1 : at + 4] == ("plain", "short", "smooth")


def test_the_audit_is_told_the_families_of_recipes_where_there_are_several(bench: Any) -> None:
    assert "--families" not in named(jobs_of(bench), "audit").argv
    bench.add_recipes()
    argv = named(jobs_of(bench), "audit").argv
    families = json.loads(argv[argv.index("--families") + 1])
    assert families == {"plain": "Stopped early", "short": "Stopped early", "smooth": "Label smoothing"}


def test_recipes_that_are_added_make_nothing_stale_but_the_audit(bench: Any) -> None:
    before = recipes(jobs_of(bench))
    bench.add_recipes()
    after = recipes(jobs_of(bench))
    stale = {path for path, recipe in before.items() if after[path] != recipe}
    assert stale == {"results.csv", "metrics.json", "vulnerability.npz"}


@pytest.mark.parametrize(
    ("config", "old", "new", "stale"),
    [
        ("study/tiny.yaml", "{short: 10}", "{short: 11}", {"checkpoints/none-32@short"}),
        ("shadow/smooth.yaml", "perceptron", "small_resnet", {"checkpoints/none-32@smooth"}),
        ("shadow/tiny.yaml", "model:", "trainer: {max_epochs: 20}\nmodel:", {"checkpoints/none-32"}),
        ("shadow/tiny.yaml", "small_resnet", "other", {"checkpoints/none-32", "checkpoints/none-32@short"}),
    ],
)
def test_a_change_of_one_recipe_makes_no_other_stale(
    bench: Any, config: str, old: str, new: str, stale: set[str]
) -> None:
    bench.add_recipes()
    assert changed(bench, config, old, new) == stale


@pytest.mark.parametrize(
    ("missing", "options"),
    [
        (["none-32"], ("--data.model_index", "1:2", "--data.n_shadows")),
        (["none-32@short"], ("--model.recipe", "short", "--trainer.max_epochs", "10", "--data.n_shadows")),
        (["none-32@shorter", "none-32"], ("--model.early", '{"shorter": 5}')),
        (
            ["none-32@shorter", "none-32@short"],
            ("--model.recipe", "short", "--trainer.max_epochs", "10", "--model.early", '{"shorter": 5}'),
        ),
    ],
)
def test_a_stop_that_is_missing_is_trained_without_what_is_there(
    bench: Any, missing: list[str], options: tuple[str, ...]
) -> None:
    bench.add_recipes()
    bench.change("study/tiny.yaml", "{short: 10}", "{shorter: 5, short: 10}")
    only = {f"checkpoints/{name}/001.ckpt" for name in missing}
    (job,) = plan(read_study(bench.config), ROOT, Fleets(size=6), only=only)
    assert set(job.outputs) == only
    at = job.argv.index(options[0])
    assert job.argv[at : at + len(options)] == options


def test_recipes_have_fleets_of_their_own(bench: Any) -> None:
    bench.add_recipes()
    jobs = jobs_of(bench, Fleets(size=6, sizes={"smooth": 2}))
    assert [job.name for job in jobs if job.stage == "train"] == [
        "train-000-005", "train@smooth-000-001", "train@smooth-002-003", "train@smooth-004-005",
    ]  # fmt: skip
    assert named(jobs, "quantize-nearest-4+1.58@smooth-002-003").needs == ("train@smooth-002-003",)


def test_repeats_quantize_the_targets_again_and_share_everything_else(bench: Any) -> None:
    before = {job.name for job in jobs_of(bench)}
    bench.change("study/tiny.yaml", "bits: [4, 1.58]", "bits: [4, 1.58], repeats: 4")
    jobs = jobs_of(bench)
    assert before < {job.name for job in jobs}
    again = [job for job in jobs if job.stage == "quantize" and "--model.repeat" in job.argv]
    assert {job.argv[job.argv.index("--model.repeat") + 1] for job in again} == {"1", "2", "3"}
    made = [path for job in again for path in job.outputs]
    assert "checkpoints/nearest-1.58~3/004.ckpt" in made
    assert {path[-8:] for path in made} == {"004.ckpt", "005.ckpt"}, "the attacker's shadows are quantized once"
    assert "confidence/nearest-4~2/005.npz" in {path for job in jobs if job.stage == "query" for path in job.outputs}


def test_in_a_leave_one_out_study_repeats_quantize_every_model(bench: Any) -> None:
    bench.change("study/tiny.yaml", "bits: [4, 1.58]", "bits: [4, 1.58], repeats: 2")
    audit = bench.folder / "configs/audit/tiny.yaml"
    audit.write_text(f"{audit.read_text()}\ndesign: leave_one_out\n")
    made = {path for job in jobs_of(bench) for path in job.outputs}
    assert "checkpoints/nearest-4~1/000.ckpt" in made


def test_repeats_change_no_file_that_was_there(bench: Any) -> None:
    before = recipes(jobs_of(bench))
    bench.change("study/tiny.yaml", "bits: [4, 1.58]", "bits: [4, 1.58], repeats: 2")
    after = recipes(jobs_of(bench))
    assert {path for path, recipe in before.items() if after[path] != recipe} == set()
    assert after["checkpoints/nearest-4~1/004.ckpt"] != before["checkpoints/nearest-4/004.ckpt"]


def test_figure_6_is_planned_with_four_runs_of_each_of_64_targets() -> None:
    study = read_study(Path(__file__).parents[2] / "configs/study/fig6.yaml")
    made = [path for job in plan(study, ROOT, Fleets(16)) for path in job.outputs]
    for method in ("adaround", "brecq", "obc"):
        runs = [path for path in made if re.match(rf"confidence/{method}-1.58(~\d)?/0[0-5]\d", path)]
        assert len(runs) == 4 * 60
    assert study.n_shadows >= 32
