"""Whole studies with a fake runner: what is run, what is kept, what is said."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lit_privq.study.command import main


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
        ".lock", "audit", "checkpoints", "confidence", "jobs.jsonl", "logs", "metrics.json", "report.html",
        "results.csv", "study.json",
    }  # fmt: skip
    assert len(bench.calls()) == len(bench.records()) == len(list((bench.output / "logs").iterdir()))
    assert "the fake ran report" in (bench.output / "logs/report.log").read_text()


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
    assert record["choices"] == {"jobs": 2, "size": 3, "why": "the study file says so"}
    assert (record["dataset"], record["net"]) == ("tiny", "small_resnet")
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
def test_an_error_of_the_users_making_is_not_repeated(bench: Any, how: str, capsys: pytest.CaptureFixture[str]) -> None:
    bench.order(["shadow/tiny.yaml --data.model_index 0:3", how])
    with pytest.raises(
        ValueError, match=r"padding must be 0; got 7, set it to 0 \(train-000-002, see .*logs/train-000-002.log\)"
    ):
        bench.study("--jobs", "1")
    assert bench.calls() == [], "the jobs after it were started"
    said = capsys.readouterr().err
    assert "padding must be 0; got 7, set it to 0" in said
    assert "Traceback" not in said


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


def test_a_changed_config_repeats_what_it_touches(bench: Any, capsys: pytest.CaptureFixture[str]) -> None:
    bench.study()
    before = len(bench.calls())
    bench.change("ptq/nearest.yaml", "Calibration", "Recalibration")
    bench.study()
    said, calls = capsys.readouterr().err, bench.calls()[before:]
    assert "repeating quantize-nearest-4+1.58-000-002: changed" in said
    assert not any("shadow/tiny.yaml" in call or "adaround" in call for call in calls)
    assert sum("nearest" in call for call in calls) == 2 + 4


def test_results_that_are_no_longer_part_of_the_study_are_named(bench: Any, capsys: pytest.CaptureFixture[str]) -> None:
    bench.study()
    bench.change("study/tiny.yaml", "bits: [4, 1.58]", "bits: [4]")
    bench.study()
    assert f"{bench.output}/confidence/nearest-1.58 is not part of this study" in capsys.readouterr().err


def test_fleets_are_measured_at_the_first_start_only(bench: Any, capsys: pytest.CaptureFixture[str]) -> None:
    bench.change("study/tiny.yaml", "fleet: 3", "fleet: auto")
    bench.study()
    assert "3 models at once, grouped, 2 workers: measured" in capsys.readouterr().err
    argv = [*bench.argv[:-1], "1"]
    n_calls = len(bench.calls())
    bench.study(*argv)
    assert (bench.folder / "chosen.txt").read_text() == "chosen "
    assert len(bench.calls()) == n_calls, "fewer workers are no reason to deal the models out anew"
    record = json.loads((bench.output / "study.json").read_text())
    assert record["choices"]["how"] == "grouped"


def test_a_dry_run_prints_commands_and_writes_nothing(bench: Any, capsys: pytest.CaptureFixture[str]) -> None:
    bench.study("--dry_run")
    commands = capsys.readouterr().out.splitlines()
    assert not bench.output.exists()
    assert not bench.calls()
    bench.study()
    assert sorted(commands) == sorted(
        (bench.output / f"logs/{record['name']}.log").read_text().splitlines()[0] for record in bench.records()
    )


def test_a_dry_run_of_a_started_study_shows_its_own_fleets(bench: Any, capsys: pytest.CaptureFixture[str]) -> None:
    bench.change("study/tiny.yaml", "fleet: 3", "fleet: auto")
    bench.study("--dry_run", "--jobs", "1")
    assert "--data.model_index 0:6" in capsys.readouterr().out
    bench.study()
    capsys.readouterr()
    bench.study("--dry_run", "--jobs", "1")
    assert "--data.model_index 0:3" in capsys.readouterr().out


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


@pytest.mark.parametrize("name", ["digits", "fashion_mnist", "cifar10", "cifar100", "tinyimagenet"])
def test_every_shipped_study_can_be_planned(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = Path(__file__).parents[2] / f"configs/study/{name}.yaml"
    main(["--config", str(config), "--output", str(tmp_path / "runs"), "--dry_run"])
    commands = capsys.readouterr().out.splitlines()
    assert commands[0].startswith("python -m lit_privq fit --config")
    assert commands[-1] == f"python -m lit_privq report {tmp_path / 'runs'}"
