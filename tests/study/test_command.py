"""Whole studies with a fake runner: what is run, what is kept, what is said."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from lit_privq.audit.output import Output
from lit_privq.study.command import Hooks, main
from lit_privq.study.plan import Fleets, plan
from lit_privq.study.running import JobNote
from lit_privq.study.study_file import read_study


def wait_until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def lines(path: Path) -> int:
    return len(path.read_bytes().splitlines()) if path.exists() else 0


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def undisturbed(new_bench: Callable[[str], Any], bench: Any) -> dict[str, str]:
    """Results of the same study, never interrupted."""
    other = new_bench("undisturbed")
    process = other.start()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    results: dict[str, str] = other.results()
    return results


def test_a_study_writes_everything_and_says_where_the_report_is(bench: Any, capsys: pytest.CaptureFixture[str]) -> None:
    bench.study()
    assert str(bench.output / "report.html") in capsys.readouterr().out
    assert {path.name for path in bench.output.iterdir()} == {
        ".lock", "audit", "checkpoints", "confidence", "figures", "jobs.jsonl", "logs", "metrics.json", "receipts",
        "report.html",
        "results.csv", "running", "study.json", "vulnerability.npz",
    }  # fmt: skip
    logs = {path.stem for path in (bench.output / "logs").iterdir()}
    assert logs == {"facts", *(record["name"] for record in bench.records())}
    assert len(bench.calls()) == len(bench.records())
    assert "the fake ran report" in (bench.output / "logs/report.log").read_text()


def test_a_key_in_the_environment_is_in_no_file_of_a_study(bench: Any, without_keys: Any) -> None:
    bench.order(["nearest-4/{index", "fail"])
    bench.study()
    without_keys(bench.folder)


def test_each_worker_runs_many_jobs_with_one_thread(bench: Any) -> None:
    bench.study()
    calls = [line.split()[:2] for line in (bench.folder / "calls.txt").read_text().splitlines()]
    assert len({pid for pid, _ in calls}) <= 2
    assert {threads for _, threads in calls} == {"1"}


def test_a_finished_study_runs_nothing_again(bench: Any) -> None:
    bench.study()
    n_calls, results = len(bench.calls()), bench.results()
    bench.study()
    assert len(bench.calls()) == n_calls
    assert bench.results() == results


def test_study_json_holds_what_the_report_shows(bench: Any) -> None:
    bench.study()
    record = json.loads((bench.output / "study.json").read_text())
    assert record["command"] == f"python -m lit_privq study {' '.join(bench.argv)}"
    assert record["choices"] == {"size": 3, "why": "the study file says so"}
    assert (record["dataset"], record["net"]) == ("Tiny", "small_resnet"), (
        "as the data call themselves, not their config"
    )
    assert record["titles"] == {"nearest": "Nearest", "adaround": "Adaround"}
    assert (record["n_shadows"], record["n_targets"]) == (4, 2)
    assert set(record["versions"]) == {"lit_privq", "python", "torch", "lightning", "numpy"}
    assert set(record["seconds"]) == {"train", "quantize", "query", "audit", "report"}
    assert record["study"]["quantize"][1]["adaptive"] is False
    assert {"commit", "started"} <= set(record)


@pytest.mark.parametrize("n_finished", [1, 5, 12])
def test_a_study_killed_at_any_stage_goes_on_and_repeats_no_finished_job(
    bench: Any, undisturbed: dict[str, str], n_finished: int
) -> None:
    process = bench.start()
    wait_until(lambda: lines(bench.output / "jobs.jsonl") >= n_finished)
    process.kill()
    process.communicate()
    workers = {int(line.split()[0]) for line in (bench.folder / "calls.txt").read_text().splitlines()}
    wait_until(lambda: not any(map(alive, workers)))  # they do not outlive the study
    finished = [record["name"] for record in bench.records()]
    bench.study()
    names = [record["name"] for record in bench.records()]
    assert names[: len(finished)] == finished
    assert len(set(names)) == len(names), "a finished job was repeated"
    assert bench.results() == undisturbed


def test_a_study_killed_amid_a_job_takes_its_workers_along(bench: Any, undisturbed: dict[str, str]) -> None:
    bench.order(["ptq/adaround", "sleep"])
    process = bench.start()
    wait_until((bench.folder / "sleeping.txt").exists)
    worker = int((bench.folder / "sleeping.txt").read_text())
    process.kill()
    process.communicate()
    wait_until(lambda: not alive(worker))
    bench.study()
    assert bench.results() == undisturbed


@pytest.mark.parametrize("where", ["shadow/tiny.yaml --data.model_index 3:6", "predict", "audit"])
def test_a_killed_worker_costs_one_repetition(
    bench: Any, undisturbed: dict[str, str], where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.order([where, "die"])
    bench.study()
    said = capsys.readouterr().err
    assert "its process was killed (by hand, or because the memory ran out); trying once more" in said
    assert len(bench.calls()) == len(set(bench.calls())), "another job was touched"
    assert bench.results() == undisturbed


def test_a_failing_job_is_repeated_once_and_its_log_shown(bench: Any, capsys: pytest.CaptureFixture[str]) -> None:
    bench.order(["nearest-4/{index", "fail"])
    bench.study()
    said = capsys.readouterr().err
    assert "failed: RuntimeError: the device is on fire; trying once more" in said
    assert "    RuntimeError: the device is on fire" in said
    assert (bench.output / "report.html").exists()


def test_a_job_that_fails_twice_stops_only_what_needs_it(bench: Any, capsys: pytest.CaptureFixture[str]) -> None:
    bench.order(["nearest-4/{index:03d}.ckpt --data.model_index 3:6", "always fail"])
    with pytest.raises(SystemExit) as end:
        bench.study()
    assert end.value.code == 1
    assert "query-nearest-4-003-005 failed twice" in capsys.readouterr().err
    left_out = {"query-nearest-4-003-005", "audit", "report"}
    (bench.folder / "orders.json").unlink()
    before = {record["name"] for record in bench.records()}
    assert not left_out & before
    bench.study()
    assert {record["name"] for record in bench.records()} == before | left_out


@pytest.mark.parametrize("how", ["refuse", "exit"])
def test_an_error_of_the_users_making_is_not_repeated_and_stops_only_what_needs_it(
    bench: Any, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.order(["ptq/nearest.yaml --model.name nearest", how])
    with pytest.raises(SystemExit) as end:
        bench.study("--jobs", "1")
    assert end.value.code == 1
    said = capsys.readouterr().err
    name = "quantize-nearest-4+1.58-000-002"
    assert said.count(f"{name} failed: padding must be 0; got 7, set it to 0; going on") == 1
    assert f"{name} failed: padding must be 0; got 7, set it to 0 (see {bench.output}/logs/{name}.log); 4 jobs" in said
    assert "Traceback" not in said
    stages = {record["name"] for record in bench.records()}
    assert "query-nearest-4-003-005" in stages, "of other models"
    assert "query-adaround-2-004-005" in stages, "of another method"


def test_jobs_that_fail_alike_are_named_together(bench: Any, capsys: pytest.CaptureFixture[str]) -> None:
    bench.order(["shadow/tiny.yaml --data.model_index 0:3", "refuse"], ["--data.model_index 3:6", "refuse"])
    with pytest.raises(SystemExit):
        bench.study("--jobs", "1")
    assert "error: train-000-002 and 1 more failed: padding must be 0" in capsys.readouterr().err


def test_a_job_that_leaves_out_a_file_has_failed(bench: Any, capsys: pytest.CaptureFixture[str]) -> None:
    bench.order(["none-32/{index:03d}.ckpt --data.model_index 0:3 --data.n_shadows", "forget"])
    bench.study()
    assert "it ended without writing confidence/none-32/000.npz" in capsys.readouterr().err


def test_ctrl_c_ends_the_workers_and_says_how_to_go_on(bench: Any) -> None:
    bench.order(["ptq/adaround", "sleep"])
    process = bench.start()
    wait_until((bench.folder / "sleeping.txt").exists)
    worker = int((bench.folder / "sleeping.txt").read_text())
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the workers get it too
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert f"go on with\n  python -m lit_privq study {' '.join(bench.argv)}" in errors
    assert "Traceback" not in errors
    assert not alive(worker)


def test_a_damaged_output_is_written_again_and_nothing_else(bench: Any, capsys: pytest.CaptureFixture[str]) -> None:
    bench.study()
    n_calls, results = len(bench.calls()), bench.results()
    (bench.output / "confidence/nearest-4/001.npz").write_text("damaged")
    bench.study()
    assert "repeating query-nearest-4-000-002: confidence/nearest-4/001.npz is damaged" in capsys.readouterr().err
    assert len(bench.calls()) == n_calls + 1, "the content is the same again, so the audit stands"
    assert bench.results() == results


@pytest.mark.parametrize("path", ["vulnerability.npz", "figures/two.svg", "audit/nearest-4/adaptive.npz"])
def test_whatever_audit_and_report_wrote_comes_back_when_it_was_deleted(bench: Any, path: str) -> None:
    bench.study()
    results, n_calls = bench.results(), len(bench.calls())
    (bench.output / path).unlink()
    bench.study()
    assert bench.results() == results
    assert len(bench.calls()) == n_calls + 1


def test_one_more_precision_quantizes_that_one_alone(bench: Any) -> None:
    bench.study()
    before = len(bench.calls())
    bench.change("study/tiny.yaml", "bits: [4, 1.58]", "bits: [4, 2, 1.58]")
    bench.study()
    new = bench.calls()[before:]
    assert Counter(call.split()[0] for call in new) == {"fit": 2, "predict": 2, "audit": 1, "report": 1}
    assert all("--model.bits [2] " in call for call in new if call.startswith("fit"))


def test_one_more_target_trains_that_one_alone(bench: Any) -> None:
    bench.study()
    before = len(bench.calls())
    bench.change("study/tiny.yaml", "n_targets: 2", "n_targets: 3")
    bench.study()
    assert {call.split("--data.model_index ")[1].split()[0] for call in bench.calls()[before:-2]} == {"6:7"}


def test_another_fleet_size_trains_nothing_again(bench: Any) -> None:
    bench.study()
    n_calls = len(bench.calls())
    bench.change("study/tiny.yaml", "fleet: 3", "fleet: 2")
    bench.study()
    assert len(bench.calls()) == n_calls


def test_editing_a_quantizers_source_repeats_its_rows(bench: Any, capsys: pytest.CaptureFixture[str]) -> None:
    bench.study()
    before = len(bench.calls())
    bench.change("own_method.py", "pass", "bits = 2")
    bench.study()
    assert (
        "repeating quantize-nearest-4+1.58-000-002: changed: its config, or the code that this names"
        in capsys.readouterr().err
    )
    calls = bench.calls()[before:]
    assert {call.split()[2] for call in calls if call.startswith("fit")} == {
        str(bench.folder / "configs/ptq/nearest.yaml")
    }


def test_finished_models_of_another_recipe_are_replaced_only_on_request(bench: Any) -> None:
    bench.study()
    n_calls, results = len(bench.calls()), bench.results()
    bench.change("shadow/tiny.yaml", "model:", "trainer: {max_epochs: 9}\nmodel:")
    with pytest.raises(ValueError, match=r"6 of 6 models in .* were trained by another recipe.*--overwrite"):
        bench.study()
    assert len(bench.calls()) == n_calls
    assert bench.results() == results
    bench.study("--overwrite")
    assert len(bench.calls()) == 2 * n_calls


def test_a_study_that_needs_more_disk_than_there_is_does_not_start(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10**8}))
    with pytest.raises(ValueError, match=r"about 417 MB will be written, but only 100 MB are free"):
        bench.study()
    assert bench.calls() == []
    bench.study("--ignore_space")


def test_a_full_disk_ends_the_study_in_one_sentence(bench: Any, capsys: pytest.CaptureFixture[str]) -> None:
    bench.order(["ptq/adaround", "full"])
    with pytest.raises(ValueError, match=r"^no space is left on the device; make room, then the same command goes on"):
        bench.study()
    assert "Traceback" not in capsys.readouterr().err


def test_a_worker_that_is_told_to_end_amid_a_job_costs_one_repetition(
    bench: Any, undisturbed: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    bench.order(["shadow/tiny.yaml --data.model_index 3:6", "terminate"])
    bench.study()
    assert "train-003-005 failed: RuntimeError: it ended (SIGTERMException) without writing" in capsys.readouterr().err
    assert bench.results() == undisturbed
    assert all(record["outputs"] for record in bench.records())


def test_a_worker_killed_between_write_and_rename_changes_no_result(bench: Any, undisturbed: dict[str, str]) -> None:
    bench.order(["nearest-4/{index:03d}.ckpt --data.model_index 0:3", "leave a part"])
    bench.study()
    assert bench.results() == undisturbed


def test_part_files_of_killed_workers_are_removed(bench: Any) -> None:
    bench.study()
    names = (".results.csv.1.part", "checkpoints/none-32/.000.ckpt.1.part", "receipts/.audit.json.1.part")
    parts = [bench.output / name for name in (*names, "wandb/records/none-32/.000.train.jsonl.1.part")]
    for part in parts:
        part.parent.mkdir(parents=True, exist_ok=True)
        part.touch()
    audit = Output(bench.output)  # killed amid its work
    audit.path("audit/nearest-4").mkdir(parents=True)
    audit.path("results.csv").touch()
    bench.study()
    assert not any(part.exists() for part in (*parts, audit.staging))


def test_part_files_of_jobs_that_run_elsewhere_are_left_alone(bench: Any) -> None:
    """SLURM's jobs outlive the study that submitted them; the next start finds them at work."""
    bench.study()
    for name, pid in (("audit", 3), ("train-000-002", 4)):
        note = JobNote(name, host="elsewhere", pid=pid, born="", began=0.0)
        (bench.output / f"running/{name}.json").write_text(json.dumps(asdict(note)))
    parts = [bench.output / f"checkpoints/none-32/.000.ckpt.{pid}.part" for pid in (4, 5)]
    for part in parts:
        part.touch()
    Output(bench.output).staging.mkdir()
    bench.study()
    assert [part.exists() for part in (*parts, Output(bench.output).staging)] == [True, False, True]


@pytest.mark.parametrize("choices", [{}, None, [], {"size": "3"}])
def test_a_record_with_unusable_choices_is_made_anew(bench: Any, choices: object) -> None:
    bench.study()
    path = bench.output / "study.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "choices": choices}))
    n_calls = len(bench.calls())
    bench.study()
    assert len(bench.calls()) == n_calls
    assert json.loads(path.read_text())["choices"]["size"] == 3


def test_a_mode_that_wandb_does_not_know_is_refused_before_anything_runs(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "nonsense")
    with pytest.raises(ValueError, match="WANDB_MODE must be one of online, offline, disabled, shared; got nonsense"):
        bench.study()
    assert not bench.output.exists()


@pytest.mark.parametrize("option", ["--data_root", "--data.root"])
def test_the_folder_of_the_data_is_taken_as_study_and_fit_spell_it(bench: Any, option: str) -> None:
    bench.study(option, str(bench.folder))
    assert f"--data.root {bench.folder}" in bench.calls()[0]


def test_a_changed_config_repeats_what_it_touches(bench: Any, capsys: pytest.CaptureFixture[str]) -> None:
    bench.study()
    before = len(bench.calls())
    bench.change("ptq/nearest.yaml", "Calibration", "Recalibration")
    bench.study()
    said, calls = capsys.readouterr().err, bench.calls()[before:]
    assert "repeating quantize-nearest-4+1.58-000-002: changed: its config, or the code that this names" in said
    assert not any("adaround" in call or (call.startswith("fit") and "shadow/tiny.yaml" in call) for call in calls)
    assert sum("nearest" in call for call in calls) == 2 + 4


def test_results_that_are_no_longer_part_of_the_study_are_named(bench: Any, capsys: pytest.CaptureFixture[str]) -> None:
    bench.study()
    bench.change("study/tiny.yaml", "bits: [4, 1.58]", "bits: [4]")
    bench.study()
    assert f"{bench.output}/confidence/nearest-1.58 is not part of this study" in capsys.readouterr().err


def test_fleets_are_measured_at_the_first_start_only(bench: Any, capsys: pytest.CaptureFixture[str]) -> None:
    bench.change("study/tiny.yaml", "fleet: 3", "fleet: auto")
    bench.study()
    assert "3 models at once, grouped: measured" in capsys.readouterr().err
    argv = [*bench.argv[:-1], "1"]
    n_calls = len(bench.calls())
    bench.study(*argv)
    assert (bench.folder / "chosen.txt").read_text() == "chosen "
    assert len(bench.calls()) == n_calls, "fewer workers are no reason to deal the models out anew"
    record = json.loads((bench.output / "study.json").read_text())
    assert record["choices"]["how"] == "grouped"


def test_a_dry_run_prints_states_commands_and_costs_and_writes_nothing(
    bench: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.study("--dry_run")
    printed = capsys.readouterr()
    commands = [command.split() for command in printed.out.splitlines()]
    assert not bench.output.exists()
    *states, todo, disk, data, step = printed.err.splitlines()
    assert todo == f"{len(commands)} of {len(commands)} jobs to do"
    assert re.fullmatch(r"about 417 MB will be written; .* are free", disk)
    assert data == "data: Tiny, 60000 examples, are there"
    assert step == (
        "500.0 ms per model and training step here, 60 steps, 6 models to train, 2 workers: "
        "about 1 min 30 s of training"
    )
    assert not bench.calls()
    bench.study()
    names = [record["name"] for record in bench.records()]
    assert sorted(line.split()[0] for line in states) == sorted(names)
    assert {line.split(maxsplit=1)[1] for line in states} == {"new"}
    assert sorted(command[4] for command in commands) == sorted(names)
    assert commands[0] == (
        f"python -m lit_privq job train-000-002 --output {bench.output} --config {bench.config} --fleet 3".split()
    )


def test_a_dry_run_of_a_started_study_shows_what_is_stale_and_why(
    bench: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.study()
    shutil.rmtree(bench.output / "confidence/nearest-4")
    bench.change("ptq/adaround.yaml", "Calibration", "Recalibration")
    capsys.readouterr()
    bench.study("--dry_run")
    printed = capsys.readouterr()
    states = dict(
        line.split(maxsplit=1) for line in printed.err.splitlines() if re.match(r"[a-z]+-|(audit|report) ", line)
    )
    assert states["train-000-002"] == "done"
    assert states["query-nearest-4-000-002"] == "stale because confidence/nearest-4/000.npz is damaged"
    assert states["quantize-adaround-2+1.58-last8-004-005"] == (
        "stale because changed: its config, or the code that this names"
    )
    assert states["query-adaround-2-004-005"] == states["audit"] == "stale because what it is made from is"
    to_do = [line.split()[4] for line in printed.out.splitlines()]
    assert to_do == [name for name, state in states.items() if state != "done"]
    assert "--fleet" not in printed.out, "the study knows its own"
    assert re.search(r"query: 10 files at .* s in the last run, 2 workers: about", printed.err)


def test_a_dry_run_without_the_data_says_so(bench: Any, capsys: pytest.CaptureFixture[str]) -> None:
    (bench.folder / "unfit.txt").touch()
    bench.study("--dry_run")
    assert "data, network or methods: adaround.yaml cannot quantize this network: it has no" in capsys.readouterr().err


def test_a_closed_pipe_is_no_error(bench: Any) -> None:
    process = bench.start("--dry_run")
    process.stdout.close()
    process.stdout = None
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "error" not in errors.lower()


def test_the_study_file_is_printed_as_it_is_understood(bench: Any, capsys: pytest.CaptureFixture[str]) -> None:
    bench.study("--print_config")
    printed = yaml.safe_load(capsys.readouterr().out)
    assert (printed["fleet"], printed["split_seed"], len(printed["quantize"])) == (3, 3, 2)
    assert not bench.output.exists()


def test_a_method_that_cannot_take_the_network_is_found_before_anything_is_trained(bench: Any) -> None:
    (bench.folder / "unfit.txt").touch()
    with pytest.raises(ValueError, match=r"adaround.yaml cannot quantize this network: it has no layers"):
        bench.study()
    assert bench.calls() == []


def test_the_facts_are_asked_once(bench: Any) -> None:
    bench.study()
    bench.study()
    assert (bench.folder / "facts.txt").read_text() == "asked "


def test_a_second_study_in_the_same_folder_is_refused(bench: Any) -> None:
    bench.order(["ptq/adaround", "sleep"])
    process = bench.start()
    wait_until((bench.folder / "sleeping.txt").exists)
    with pytest.raises(ValueError, match=rf"another study \(process {process.pid}\) is running"):
        bench.study()
    process.kill()
    process.communicate()


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--config", "typo.yaml"], r"there is no file typo.yaml"),
        (["--data_root", "nowhere"], r"--data_root must be a folder"),
        (["--jobs", "0"], r"--jobs must be at least 1; got 0"),
        (["--slurm.partition", "gpu"], r"--slurm.partition is for --engine slurm; got --engine local, change one"),
        (["--address", "head:6379"], r"--address is for --engine ray; got --engine local, change one"),
    ],
)
def test_a_bad_option_is_refused_before_anything_is_written(bench: Any, more: list[str], sentence: str) -> None:
    with pytest.raises((ValueError, OSError), match=sentence):
        bench.study(*more)
    assert not bench.output.exists()


def test_an_odd_number_of_shadows_is_refused_before_anything_is_written(bench: Any) -> None:
    bench.change("study/tiny.yaml", "n_shadows: 4", "n_shadows: 5")
    with pytest.raises(ValueError, match="n_shadows must be even"):
        bench.study()
    assert not bench.output.exists()


def test_an_output_that_cannot_be_written_is_refused_before_anything_runs(bench: Any) -> None:
    bench.output.touch()
    with pytest.raises(OSError, match=r"cannot write to .*; choose another --output"):
        bench.study()
    assert not bench.calls()


def test_help_shows_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    assert "python -m lit_privq study --config configs/study/digits.yaml" in capsys.readouterr().out


def test_planning_imports_neither_torch_nor_lightning() -> None:
    program = "import sys, lit_privq.study.command; print({'torch', 'lightning', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


STUDIES = Path(__file__).parents[2] / "configs/study"
UNKNOWN = Hooks("builtins:nothing", "builtins:nothing", "builtins:nothing")  # measures nothing, reads no data


@pytest.mark.parametrize("config", sorted(STUDIES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_study_can_be_planned(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--config", str(config), "--output", str(tmp_path / "runs"), "--dry_run"], UNKNOWN)
    commands = capsys.readouterr().out.splitlines()
    assert commands[0].startswith("python -m lit_privq job train-000-")
    assert commands[-1].startswith(f"python -m lit_privq job report --output {tmp_path / 'runs'} --config {config}")


def test_recipes_that_are_added_leave_every_model_and_its_confidences_alone(bench: Any) -> None:
    bench.study()
    before, done = bench.results(), len(bench.calls())
    bench.add_recipes()
    bench.study()
    after, calls = bench.results(), bench.calls()[done:]
    kept = [path for path in before if path.startswith(("checkpoints", "confidence"))]
    assert {path: before[path] for path in kept} == {path: after[path] for path in kept}
    trained = [call for call in calls if call.startswith("fit --config") and "--model.name" not in call]
    assert all("--model.recipe" in call for call in trained), "the first recipe is not trained again"
    assert any("--trainer.max_epochs 10" in call for call in trained)
    assert {path.split("/")[1] for path in set(after) - set(before) if path.startswith("confidence")} == {
        f"{variant}@{recipe}" for variant in ("none-32", "nearest-4", "nearest-1.58") for recipe in ("short", "smooth")
    }


def test_fleets_are_measured_for_each_recipe_and_kept(bench: Any, capsys: pytest.CaptureFixture[str]) -> None:
    bench.change("study/tiny.yaml", "fleet: 3", "fleet: auto")
    bench.study()
    bench.add_recipes()
    bench.study()
    assert "smooth: 3 models at once, grouped: measured" in capsys.readouterr().err
    bench.study()
    assert (bench.folder / "chosen.txt").read_text() == "chosen chosen "
    record = json.loads((bench.output / "study.json").read_text())
    assert record["recipe_choices"]["smooth"]["choices"]["size"] == 3
    assert record["recipes"] == {"": "", "short": "10 epochs", "smooth": "Label smoothing"}
    assert [*record["families"]] == ["plain", "short", "smooth"]


def test_a_dry_run_tells_what_each_recipe_costs(bench: Any, capsys: pytest.CaptureFixture[str]) -> None:
    bench.add_recipes()
    bench.study("--dry_run")
    lines = capsys.readouterr().err.splitlines()
    each = "500.0 ms per model and training step here, 60 steps, 6 models to train, 2 workers: about 1 min 30 s"
    assert [line for line in lines if "ms per model" in line] == [
        f"plain: {each} of training", f"smooth: {each} of training",
    ]  # fmt: skip


def test_the_three_networks_of_fig_5_are_trained_and_quantized_by_one_study(tmp_path: Path) -> None:
    study = read_study(Path(__file__).parents[2] / "configs/study/fig5.yaml")
    commands = [shlex.join(job.argv) for job in plan(study, tmp_path, Fleets(4))]
    trained = {
        command.split("--config ")[1].split()[0].rpartition("/")[2]
        for command in commands
        if command.startswith("fit") and "shadow/" in command
    }
    assert trained == {"cifar100.yaml", "cifar100_resnet50.yaml", "cifar100_densenet121.yaml"}
    for method in ("obc", "descent"):
        of = [command for command in commands if f"--model.name {method} " in command]
        parents = {re.search(r"none-32(@\w+)?/", command)[1] for command in of}  # type: ignore[index]
        assert parents == {None, "@resnet50", "@densenet121"}
        assert all("--model.bits '[4, 2, 1.58]'" in command for command in of)
    assert "--recipes resnet18 resnet50 densenet121" in commands[-2]


def test_repeats_of_a_method_without_randomness_are_said_and_done_once(
    bench: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.change("study/tiny.yaml", "bits: [4, 1.58]", "bits: [4, 1.58], repeats: 2")
    bench.change("fake_run.py", '"examples": 60_000', '"examples": 60_000, "fixed": ["nearest"]')
    bench.study("--dry_run")
    planned, said = capsys.readouterr()
    assert "nearest-4~1" not in planned
    assert said.count("nearest has no randomness, and no calibration examples: it is not repeated") == 1


def test_repeats_of_other_methods_are_planned(bench: Any, capsys: pytest.CaptureFixture[str]) -> None:
    bench.change("study/tiny.yaml", "bits: [4, 1.58]", "bits: [4, 1.58], repeats: 2")
    bench.study("--dry_run")
    assert "quantize-nearest-4~1" in capsys.readouterr().out


def test_damage_that_was_found_by_reading_every_file_is_not_forgotten(bench: Any) -> None:
    """The start that found it may be killed before it made the file again, and the next may not read every file."""
    bench.study()
    results, path = bench.results(), bench.output / "checkpoints/none-32/001.ckpt"
    time_kept = path.stat().st_mtime_ns
    path.write_text(path.read_text()[::-1])
    os.utime(path, ns=(time_kept, time_kept))
    bench.order(["shadow/tiny.yaml", "full"])
    with pytest.raises(ValueError, match="no space is left"):
        bench.study("--verify")
    bench.study()
    assert bench.results() == results
