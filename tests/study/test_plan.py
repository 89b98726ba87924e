import shlex
from pathlib import Path
from typing import Any

import pytest

from lit_privq.study.plan import Fleets, Job, plan
from lit_privq.study.study_file import read_study

ROOT = Path("runs")


IN_PAIRS = Fleets(size=2, jobs=2)


def jobs_of(bench: Any, fleets: Fleets = IN_PAIRS, root: Path = ROOT) -> list[Job]:
    return plan(read_study(bench.config), root, fleets)


def named(jobs: list[Job], name: str) -> Job:
    return next(job for job in jobs if job.name == name)


def test_a_plan_is_the_commands_a_person_could_type(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(bench.folder)
    jobs = plan(read_study(Path("configs/study/tiny.yaml")), ROOT, Fleets(size=6, jobs=1))
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
        "audit --config configs/audit/tiny.yaml --input runs/confidence --output runs --report false",
        "report runs",
    ]


def test_a_method_is_named_by_its_config_alone(bench: Any) -> None:
    copy = bench.folder / "configs/ptq/copied.yaml"
    copy.write_text((bench.folder / "configs/ptq/nearest.yaml").read_text())
    bench.change("study/tiny.yaml", "ptq/nearest.yaml", "ptq/copied.yaml")
    (job,) = [job for job in jobs_of(bench, Fleets(size=6, jobs=1)) if "copied" in job.name and job.stage == "quantize"]
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
    assert all("--data.root" in job.argv for job in jobs if job.models)
    assert [job.recipe for job in jobs] == [job.recipe for job in jobs_of(bench)], "where the data lie changes nothing"


@pytest.mark.parametrize("n", [1, 2, 7, 20, 74])
@pytest.mark.parametrize("size", [1, 4, 10, 100])
@pytest.mark.parametrize("jobs", [1, 2, 3, 16])
def test_every_model_is_dealt_out_once_and_every_worker_gets_some(n: int, size: int, jobs: int) -> None:
    shares = Fleets(size, jobs).deal(range(5, 5 + n))
    assert [index for share in shares for index in share] == list(range(5, 5 + n))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert max(map(len, shares)) <= size
    assert len(shares) % jobs == 0 or len(shares) == n


def test_a_quantize_job_waits_only_for_its_own_models(bench: Any) -> None:
    jobs = jobs_of(bench, Fleets(size=2, jobs=1))
    assert named(jobs, "quantize-nearest-4+1.58-002-003").needs == ("train-002-003",)
    assert named(jobs, "query-nearest-4-002-003").needs == ("quantize-nearest-4+1.58-002-003",)


def test_an_unequal_deal_waits_for_every_job_it_draws_on(bench: Any) -> None:
    jobs = jobs_of(bench, Fleets(size=4, jobs=1))  # trained as 0:3 and 3:6, targets quantized as 4:6
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
    assert "audit/nearest-4/adaptive.npz" in outputs
    assert "audit/adaround-2/adaptive.npz" not in outputs


def test_a_recipe_is_the_same_wherever_the_study_lies(new_bench: Any) -> None:
    here, there = new_bench("here"), new_bench("there")
    recipes = [[job.recipe for job in jobs_of(bench, root=bench.output)] for bench in (here, there)]
    assert recipes[0] == recipes[1]


def test_a_recipe_covers_the_configs_that_a_config_points_at(bench: Any) -> None:
    before = {job.name: job.recipe for job in jobs_of(bench)}
    bench.change("data/tiny.yaml", "4", "6")
    changed = {job.stage for job in jobs_of(bench) if job.recipe != before[job.name]}
    assert changed == {"train", "query"}


def test_a_comment_in_a_config_changes_no_recipe(bench: Any) -> None:
    before = [job.recipe for job in jobs_of(bench)]
    bench.change("shadow/tiny.yaml", "data:", "# one of them\ndata:")
    assert [job.recipe for job in jobs_of(bench)] == before


def test_a_config_that_points_nowhere_is_named(bench: Any) -> None:
    bench.change("shadow/tiny.yaml", "../data/tiny.yaml", "../data/typo.yaml")
    with pytest.raises(FileNotFoundError, match=r"shadow/tiny.yaml names ../data/typo.yaml, but there is no"):
        jobs_of(bench)
