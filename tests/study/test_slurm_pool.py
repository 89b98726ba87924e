"""A study on SLURM: scripts, arrays with dependencies, and a driver that comes back; sbatch itself is a stand-in."""

import os
import re
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from lit_privq.study.engines import slurm_options
from lit_privq.study.slurm_pool import SlurmPool, SlurmTask, parameters, sbatch_script
from lit_privq.study.workers import WORKER, Call, Resources

pytest.importorskip("submitit")

SBATCH = '''#!{python}
"""Runs an array's jobs as processes, after those it depends on; what sbatch does, without a queue."""
import os, re, subprocess, sys, time
from pathlib import Path

if len(sys.argv) == 2:  # as sbatch: hand the script to a process of its own
    number = str(1000 + len(list(Path("{state}").glob("*.script"))))
    Path("{state}", number + ".script").write_text(Path(sys.argv[1]).read_text())
    with open(os.devnull, "w") as nothing:
        subprocess.Popen([sys.argv[0], number, "run"], stdin=subprocess.DEVNULL, stdout=nothing, stderr=nothing,
                         start_new_session=True)
    print("Submitted batch job", number)
else:
    number = sys.argv[1]
    script = Path("{state}", number + ".script").read_text()
    after = re.search("--dependency=.?afterany:([0-9:]+)", script)
    for other in after[1].split(":") if after else ():
        while not Path("{state}", other + ".ended").exists():
            time.sleep(0.05)
    array = re.search("--array=.?0-([0-9]+)", script)
    command = script.partition("# command")[2]
    for index in range(int(array[1]) + 1) if array else [None]:
        task = {{}} if index is None else {{"SLURM_ARRAY_JOB_ID": number, "SLURM_ARRAY_TASK_ID": str(index)}}
        cancelled = Path("{state}/cancelled").read_text().split() if Path("{state}/cancelled").exists() else []
        if (number if index is None else f"{{number}}_{{index}}") in cancelled:
            continue
        own = {{"SLURM_JOB_ID": number, "SLURM_NTASKS": "1", "SLURM_JOB_NUM_NODES": "1", "SLURM_NODEID": "0",
               "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_JOB_NODELIST": "here", "SLURM_JOB_NAME": "x"}}
        subprocess.run(["bash", "-c", command], env={{**os.environ, **own, **task}})
    Path("{state}", number + ".ended").touch()
'''
SRUN = """#!/bin/bash
shift; shift 2; shift 2  # --unbuffered --output X --error Y
exec "$@"
"""


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand-ins of SLURM's commands on the path; the folder holds what was submitted."""
    state, commands = tmp_path / "state", tmp_path / "commands"
    state.mkdir()
    commands.mkdir()
    texts = {"sbatch": SBATCH.format(python=sys.executable, state=state), "srun": SRUN, "sacct": "#!/bin/bash\n"}
    texts |= {"scancel": f"#!/bin/bash\necho $1 >> {state}/cancelled\n"}
    for name, text in texts.items():
        (commands / name).write_text(text)
        (commands / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}{os.pathsep}{os.environ['PATH']}")
    return state


def run(bench: Any, *more: str) -> str:
    _, errors = (process := bench.start(*more)).communicate(timeout=240)
    assert process.returncode == 0, errors
    return str(errors)


@pytest.mark.slow
def test_a_study_on_slurm_is_arrays_behind_each_other_and_gives_what_it_gives_here(
    bench: Any, new_bench: Any, cluster: Path, without_keys: Any
) -> None:
    here = new_bench("here")
    run(here)
    run(bench, "--engine", "slurm", "--slurm.partition", "gpu", "--slurm.gpus_per_node", "1")
    assert bench.results() == here.results()
    scripts = [path.read_text() for path in sorted(cluster.glob("*.script"))]
    stages = [re.search(r"--job-name=lit_privq-(\w+)", script)[1] for script in scripts]  # type: ignore[index]
    assert stages == ["more", "more", "train", "quantize", "query", "audit", "report"]  # storage, facts
    assert "--dependency=afterany:1002:1003\n" in scripts[4]
    assert "--array=0-1%2" in scripts[2]
    assert all("--partition=gpu" in script for script in scripts)
    assert ["--gpus-per-node=1" in script for script in scripts] == [False, False, True, True, True, False, False]
    assert "the fake ran report" in (bench.output / "logs/report.log").read_text()
    without_keys(bench.output)
    without_keys(cluster)


def queued(root: Path) -> dict[str, str]:
    """Numbers of the jobs that a new driver finds, by the name of the call; each name once."""
    found = [(call.name, job.job_id) for call, job in SlurmPool(root, WORKER, {})._found()]
    assert len(found) == len(dict(found)), found
    return dict(found)


def wait_until_submitted(bench: Any, driver: "subprocess.Popen[str]") -> None:
    """Until the last job is in the queue, and the first one waits for the test."""
    while not ((bench.folder / "waiting.txt").exists() and "report" in queued(bench.output)):
        assert driver.poll() is None, driver.communicate()
        time.sleep(0.1)


@pytest.mark.slow
def test_a_driver_that_was_killed_finds_its_jobs_and_submits_none_again(bench: Any, cluster: Path) -> None:
    bench.order(["shadow/tiny.yaml --data.model_index 0:3", "wait"])
    process = bench.start("--engine", "slurm")
    wait_until_submitted(bench, process)
    process.kill()
    process.communicate()
    n_scripts = len(list(cluster.glob("*.script")))
    (bench.folder / "go.txt").touch()
    run(bench, "--engine", "slurm")
    assert len(list(cluster.glob("*.script"))) == n_scripts
    assert len(bench.calls()) == 15
    assert not queued(bench.output), "a job that has ended is not asked after again"


@pytest.mark.slow
def test_jobs_that_were_queued_before_a_config_changed_are_cancelled_and_enter_no_result(
    bench: Any, new_bench: Any, cluster: Path
) -> None:
    here = new_bench("here")
    bench.order(["shadow/tiny.yaml --data.model_index 0:3", "wait"])
    process = bench.start("--engine", "slurm")
    wait_until_submitted(bench, process)
    before = queued(bench.output)
    process.kill()
    process.communicate()
    for one in (here, bench):
        one.change("ptq/adaround.yaml", "Calibration", "Recalibration")
    process = bench.start("--engine", "slurm")
    while not (cluster / "cancelled").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    (bench.folder / "go.txt").touch()
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    run(here)
    assert bench.results() == here.results()
    cancelled = set((cluster / "cancelled").read_text().split())
    changed = {name for name in before if "quantize-adaround" in name}
    assert {before[name] for name in changed} <= cancelled
    assert not {number for name, number in before.items() if "nearest" in name} & cancelled


def nothing_starts(cluster: Path) -> None:
    """Have sbatch count and do no more: a queue in which jobs wait for ever."""
    sbatch = f"#!/bin/bash\necho >> {cluster}/n\necho Submitted batch job $(wc -l < {cluster}/n)\n"
    (cluster.parent / "commands/sbatch").write_text(sbatch)


def test_ctrl_c_cancels_what_was_submitted_and_what_waits_for_it(tmp_path: Path, cluster: Path) -> None:
    nothing_starts(cluster)
    calls = [Call(name, "os:getpid", (), tmp_path / "log") for name in "abc"]
    with suppress(KeyboardInterrupt), SlurmPool(tmp_path, WORKER, {}) as pool:
        pool.submit_ahead([("train", calls[:2]), ("query", calls[2:])])
        pool.start(calls[0])
        raise KeyboardInterrupt
    assert (cluster / "cancelled").read_text().split() == ["1", "2"], "an array, and a single job behind it"
    assert not queued(tmp_path)


class Killed(BaseException):
    """Stands for the death of a driver."""


@pytest.mark.parametrize("n_written", [0, 2, 3])
def test_a_driver_that_is_killed_while_it_submits_leaves_no_job_that_runs_twice(
    tmp_path: Path, cluster: Path, monkeypatch: pytest.MonkeyPatch, n_written: int
) -> None:
    """SLURM has the array of three; submitit gave their calls to some of its jobs, and the others end without one."""
    from submitit.core.utils import JobPaths

    nothing_starts(cluster)
    calls = [Call(name, "os:getpid", (), tmp_path / "log") for name in "abc"]
    move, written = JobPaths.move_temporary_file, list[str]()

    def move_some(paths: JobPaths, path: Path, name: str, **more: Any) -> None:
        is_call = name == "submitted_pickle"
        if is_call and len(written) == n_written:
            raise Killed
        move(paths, path, name, **more)
        written.extend([str(paths.job_id)] if is_call else [])

    with monkeypatch.context() as dying:
        dying.setattr(JobPaths, "move_temporary_file", move_some)
        dying.setattr(SlurmPool, "_found", lambda _: iter(()))
        with suppress(Killed):
            SlurmPool(tmp_path, WORKER, {}).submit_ahead([("train", calls)])
    SlurmPool(tmp_path, WORKER, {}).submit_ahead([("train", calls)])
    assert len(queued(tmp_path)) == 3
    assert [queued(tmp_path)[name] for name in "abc"[:n_written]] == written
    assert len((cluster / "n").read_text()) == (1 if n_written == 3 else 2)


def test_calls_that_take_different_resources_are_submitted_apart(tmp_path: Path, cluster: Path) -> None:
    with SlurmPool(tmp_path, WORKER, {}) as pool:
        for name, memory in (("a", 8), ("b", 1), ("c", 8)):
            pool.start(Call(name, "os:getpid", (), tmp_path / "log", Resources(memory=memory * 2**30)))
        while pool.running:
            pool.wait(timeout=1.0)
    scripts = [path.read_text() for path in sorted(cluster.glob("*.script"))]
    assert [re.findall("--mem=[^ ]*MB|--array=0-1", script) for script in scripts] == [
        ["--mem=1024MB"], ["--array=0-1", "--mem=8192MB"],
    ]  # fmt: skip


def test_a_script_asks_for_what_its_jobs_take_and_says_what_the_user_says(tmp_path: Path) -> None:
    options = {"partition": "gpu", "time": "60", "gpus_per_node": "1"}
    script = sbatch_script(tmp_path, "quantize", Resources(2, 0.5, 2**31), 7, options, ["12", "13"])
    for line in (
        "--job-name=lit_privq-quantize", "--partition=gpu", "--time=60", "--cpus-per-task=2", "--mem=2048MB",
        "--gpus-per-node=1", "--dependency=afterany:12:13", "--array=0-6%7",
    ):  # fmt: skip
        assert f"#SBATCH {line}\n" in script
    assert "gpus_per_node" not in parameters("audit", Resources(), options, ())


def test_a_gpu_is_asked_for_where_the_user_says_that_a_job_takes_one() -> None:
    said, guessed = Resources(gpu=0.5, asked=True), Resources(gpu=0.5)
    assert parameters("query", said, {}, ())["gpus_per_node"] == 1, "SLURM divides none"
    assert "gpus_per_node" not in parameters("query", guessed, {}, ()), "there may be none"
    assert "gpus_per_node" not in parameters("query", said, {"gres": "shard:2"}, ())
    assert "gres" not in parameters("query", Resources(asked=True), {"gres": "gpu:1"}, ())


def test_a_dry_run_prints_the_scripts(bench: Any, capsys: pytest.CaptureFixture[str]) -> None:
    bench.study("--dry_run", "--engine", "slurm", "--slurm.partition", "gpu")
    printed = capsys.readouterr().out
    assert printed.count("#!/bin/bash") == 5
    assert printed.count("#SBATCH --partition=gpu") == 5
    assert "#SBATCH --dependency='afterany:<train>:<quantize>'" in printed
    assert not bench.output.exists()


def test_a_dry_run_shows_the_resources_of_each_stage(bench: Any, capsys: pytest.CaptureFixture[str]) -> None:
    bench.change("study/tiny.yaml", "fleet: 3", "fleet: 3\nresources: {train: {cpus: 4, gpu: 1, memory: 8}}")
    bench.study("--dry_run", "--engine", "slurm", "--resources", "{audit: {memory: 64}, train: {memory: 9.5}}")
    train, *others, audit, report = capsys.readouterr().out.split("#!/bin/bash")[1:]
    assert {"--cpus-per-task=4", "--gpus-per-node=1", "--mem=9728MB"} <= set(train.split())
    assert {"--cpus-per-task=1", "--mem=65536MB"} <= set(audit.split())
    assert not any("--mem" in script or "--gpus" in script for script in (*others, report))


def test_an_option_that_sbatch_does_not_have_is_refused(tmp_path: Path, cluster: Path) -> None:
    with pytest.raises(ValueError, match=r"--slurm.NAME must be an option of sbatch; .*'partitoin'"):
        SlurmPool(tmp_path, WORKER, {"partitoin": "gpu"})


@pytest.mark.parametrize("extras", [["--slurm.time"], ["--typo", "3"], ["x"]])
def test_an_unknown_option_of_a_study_is_refused(extras: list[str]) -> None:
    with pytest.raises(ValueError, match="unknown option"):
        slurm_options(extras)


def test_without_slurm_there_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ValueError, match=r"--engine slurm must run where sbatch is"):
        SlurmPool(tmp_path, WORKER, {})


def test_a_preempted_job_is_requeued_as_it_was(tmp_path: Path) -> None:
    task = SlurmTask(Call("name", "os:getpid", (), tmp_path / "log"), WORKER)
    assert task.checkpoint().function == task


@pytest.mark.slow
def test_calls_run_under_submitits_local_executor(tmp_path: Path) -> None:
    with SlurmPool(tmp_path, WORKER, {}, cluster="local") as pool:
        pool.start(Call("good", "os:getcwd", (), tmp_path / "good.log"))
        pool.start(Call("bad", "os:listdir", ("/no/such/folder",), tmp_path / "bad.log"))
        ended = {}
        while pool.running:
            ended |= {call.name: outcome for call, outcome in pool.wait(timeout=1.0)}
    assert ended["good"].value == str(Path.cwd())
    assert "No such file" in ended["bad"].error
    assert ended["bad"].is_final
