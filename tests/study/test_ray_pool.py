"""A study on Ray: the same results, whatever dies."""

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lit_privq.study.running import is_alive

ray = pytest.importorskip("ray")


def run(bench: Any, *more: str, timeout: float = 240) -> str:
    process = bench.start(*more)
    _, errors = process.communicate(timeout=timeout)
    assert process.returncode == 0, errors
    return str(errors)


@pytest.mark.slow
def test_a_study_on_ray_gives_what_it_gives_here_with_output_in_the_jobs_logs(
    bench: Any, new_bench: Any, without_keys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = new_bench("here")
    run(here)
    folder = tempfile.mkdtemp()  # sockets lie in it, whose paths must be short
    monkeypatch.setenv("RAY_TMPDIR", folder)
    bench.order(["shadow/tiny.yaml --data.model_index 3:6", "die"], ["ptq/adaround", "fail"])
    said = run(bench, "--engine", "ray")
    assert bench.results() == here.results()
    assert "train-003-005 failed: its process or its machine died; trying once more" in said
    assert "RuntimeError: the device is on fire" in said
    assert "the fake ran report" in (bench.output / "logs/report.log").read_text()
    without_keys(bench.output)
    without_keys(Path(folder))
    shutil.rmtree(folder)
    assert "15 of 15 jobs are finished" in run(bench), "receipts say so, wherever a job ran"


@pytest.fixture
def two_nodes() -> Iterator[Any]:
    """A cluster of two nodes with a core each."""
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": 2**27}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    yield cluster, cluster.add_node(**node)
    cluster.shutdown()


@pytest.mark.slow
def test_a_lost_node_costs_repetitions_and_no_result(bench: Any, new_bench: Any, two_nodes: Any) -> None:
    here = new_bench("here")
    run(here)
    cluster, node = two_nodes
    bench.order(*([part, "nap"] for part in ("nearest-4/{index", "adaround-2/{index", "none-32/{index", "query")))
    process = bench.start("--engine", "ray", "--address", cluster.address)
    ledger = bench.output / "jobs.jsonl"
    while not ledger.exists() or len(bench.records()) < 4:
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    cluster.remove_node(node, allow_graceful=False)
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    assert bench.results() == here.results()


@pytest.mark.slow
def test_ctrl_c_cancels_what_runs_on_ray_and_the_same_command_goes_on(bench: Any, new_bench: Any) -> None:
    here = new_bench("here")
    run(here)
    bench.order(["ptq/adaround", "sleep"])
    process = bench.start("--engine", "ray")
    sleeping = bench.folder / "sleeping.txt"
    while not (sleeping.exists() and sleeping.read_text()):
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    started = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "finished jobs are kept, go on with" in errors
    assert "Traceback" not in errors
    assert time.monotonic() - started < 30
    assert not is_alive(int(sleeping.read_text())), "the job's process"
    run(bench, "--engine", "ray")
    assert bench.results() == here.results()


@pytest.mark.slow
def test_a_job_that_no_machine_of_the_cluster_can_hold_is_refused_and_not_waited_for(bench: Any) -> None:
    for given, sentence in (
        ("{audit: {memory: 1000000}}", r"must hold a job of audit, which takes 1 cpus, 0 gpu and 1e\+06 GiB; the most"),
        ("{query: {cpus: 99999}}", r"must hold a job of query, which takes 99999 cpus"),
    ):
        with pytest.raises(ValueError, match=sentence):
            bench.study("--engine", "ray", "--resources", given)
    assert not bench.calls()


def test_an_address_without_a_cluster_is_refused(bench: Any) -> None:
    with pytest.raises(ValueError, match=r"there must be a Ray cluster at --address 127\.0\.0\.1:1"):
        bench.study("--engine", "ray", "--address", "127.0.0.1:1")
