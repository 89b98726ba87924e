from collections.abc import Sequence
from pathlib import Path

import pytest

from lit_privq.study.engines import check_storage, resources_of
from lit_privq.study.tasks import gpus, see, workers
from lit_privq.study.workers import Call, Outcome, WorkerPool


class Elsewhere:
    """Workers of a machine that sees other storage."""

    size = 1

    def __init__(self, root: Path) -> None:
        self.root, self.running = root, list[Call]()

    def start(self, call: Call) -> None:
        self.running.append(call)

    def wait(self, timeout: float) -> Sequence[tuple[Call, Outcome]]:
        call = self.running.pop()
        path, token = call.arguments
        try:
            see(self.root / path.name, token)
        except ValueError as error:
            return [(call, Outcome(error=str(error)))]
        return [(call, Outcome())]


def test_storage_that_workers_do_not_see_is_refused_in_one_sentence(tmp_path: Path) -> None:
    root, other = tmp_path / "runs", tmp_path / "elsewhere"
    root.mkdir()
    check_storage(Elsewhere(root), root)
    with pytest.raises(
        ValueError, match=r"must be on storage that all workers see; a worker on .* does not find .*seen"
    ):
        check_storage(Elsewhere(other), root)
    assert not (root / ".seen").exists()


def test_a_training_takes_a_gpu_and_others_as_little_as_a_quarter() -> None:
    gib = 2**30
    shares = {
        gpu_gib: resources_of({"gpu_bytes": gpu_gib * gib, "fleet_bytes": 10 * gib})["query"].gpu
        for gpu_gib in (8, 24, 35, 80)
    }
    assert shares == {8: 1.0, 24: 1 / 2, 35: 1 / 3, 80: 1 / 4}
    assert resources_of({})["quantize"].gpu == 1 / 2, "where nothing was measured"
    assert resources_of({})["train"].gpu == 1
    assert resources_of({})["audit"].gpu == 0


def test_there_is_a_worker_for_each_gpu_that_may_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-5")
    assert (gpus(), workers()) == (["3", "GPU-5"], 2)
    for hidden in ("", "-1"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
        assert gpus() == []
        assert workers() >= 1


def test_each_worker_sees_a_gpu_of_its_own_and_they_take_turns(tmp_path: Path) -> None:
    with WorkerPool(3, {}, devices=["3", "5"]) as pool:
        for k in range(3):
            pool.start(Call(str(k), "os:getenv", ("CUDA_VISIBLE_DEVICES",), tmp_path / f"{k}.log"))
        seen: list[str] = []
        while pool.running:
            seen += [outcome.value for _, outcome in pool.wait(timeout=1.0)]
    assert sorted(seen) == ["3", "3", "5"]
