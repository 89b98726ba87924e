"""A study on Ray: the same results, whatever dies."""

from typing import Any

import pytest

ray = pytest.importorskip("ray")


def run(bench: Any, *more: str, timeout: float = 240) -> str:
    process = bench.start(*more)
    _, errors = process.communicate(timeout=timeout)
    assert process.returncode == 0, errors
    return str(errors)


@pytest.mark.slow
def test_a_study_on_ray_gives_what_it_gives_here_with_output_in_the_jobs_logs(bench: Any, new_bench: Any) -> None:
    here = new_bench("here")
    run(here)
    bench.order(["shadow/tiny.yaml --data.model_index 3:6", "die"], ["ptq/adaround", "fail"])
    said = run(bench, "--engine", "ray")
    assert bench.results() == here.results()
    assert "train-003-005 failed: its process or its machine died; trying once more" in said
    assert "RuntimeError: the device is on fire" in said
    assert "the fake ran report" in (bench.output / "logs/report.log").read_text()
    assert "15 of 15 jobs are finished" in run(bench), "receipts say so, wherever a job ran"
