import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from lit_privq.study import command, slurm_pool
from lit_privq.study.choices import settled
from lit_privq.study.engines import check_storage, resources_of, with_resources
from lit_privq.study.study_file import Study, read_study
from lit_privq.study.tasks import gpus, see, workers
from lit_privq.study.workers import Call, Outcome, Resources, WorkerPool
from tests.study.conftest import HOOKS


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
        gpu_gib: resources_of({"gpu_bytes": gpu_gib * gib, "fleet_bytes": 10 * gib}, {})["query"].gpu
        for gpu_gib in (8, 24, 35, 80)
    }
    assert shares == {8: 1.0, 24: 1 / 2, 35: 1 / 3, 80: 1 / 4}
    assert resources_of({}, {})["quantize"].gpu == 1 / 2, "where nothing was measured"
    assert resources_of({}, {})["train"].gpu == 1
    assert resources_of({}, {})["audit"].gpu == 0


@pytest.fixture
def study(bench: Any) -> Study:
    """A study whose file gives resources to trainings."""
    bench.change("study/tiny.yaml", "fleet: 3", "fleet: 3\nresources: {train: {cpus: 2, memory: 8}}")
    return read_study(bench.config)


def test_resources_of_a_command_line_stand_over_those_of_the_study_file(study: Study) -> None:
    given = with_resources(study, "{train: {gpu: 0.5, memory: 1.5}, audit: {memory: 64}}").resources
    assert given == {"train": {"cpus": 2, "gpu": 0.5, "memory": 1.5}, "audit": {"memory": 64}}
    found = resources_of({}, given)
    assert found["train"] == Resources(cpus=2, gpu=0.5, memory=3 * 2**29, asked=True)
    assert found["audit"] == Resources(memory=64 * 2**30)
    assert found["query"] == resources_of({}, {})["query"]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("{trian: {cpus: 2}}", r"resources are those of a stage, train, .*; got trian, correct the name"),
        ("{train: {gpus: 1}}", r"resources of train must be cpus, .*; got gpus: 1, correct it"),
        ("{query: {gpu: 2}}", r"gpu, a share from 0 to 1, .*; got gpu: 2"),
        ("{query: {gpu: -0.5}}", r"got gpu: -0.5"),
        ("{train: {cpus: 0}}", r"got cpus: 0"),
        ("{train: {cpus: 1.5}}", r"got cpus: 1.5"),
        ("{train: {cpus: true}}", r"got cpus: True"),
        ("{train: {memory: 8GB}}", r"memory, in GiB and above 0; got memory: 8GB"),
        ("{train: {memory: .nan}}", r"got memory: nan"),
        ("{train: {memory: .inf}}", r"got memory: inf"),
        ("memory 8", r"--resources must be amounts by stage, such as .*; got memory 8"),
        ("{train: 8}", r"--resources must be amounts by stage"),
        ("{train: [", r"--resources must be amounts by stage"),
    ],
)
def test_resources_that_no_job_can_take_are_refused(study: Study, given: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        with_resources(study, given)


def test_nonsense_in_a_study_file_is_refused_before_anything_runs(bench: Any) -> None:
    bench.change("study/tiny.yaml", "fleet: 3", "fleet: 3\nresources: {train: {memory: -1}}")
    with pytest.raises(ValueError, match=r"resources of train must be .*; got memory: -1"):
        bench.study()
    assert not bench.output.exists()


def test_a_fleets_size_is_measured_with_the_gpu_that_a_training_takes(study: Study, tmp_path: Path) -> None:
    asked: dict[str, Resources] = {}

    def caller(call: Call) -> Outcome:
        asked[call.name] = call.resources
        return Outcome({"dataset": "", "net": "", "titles": {}} if call.name == "facts" else {"size": 1, "why": ""})

    options = argparse.Namespace(output=tmp_path, data_root=None, jobs=None, fleet=None)
    settled(replace(study, fleet="auto"), options, {}, caller, HOOKS)
    assert asked == {"facts": Resources(), "choose": Resources(cpus=2, gpu=1, memory=8 * 2**30)}


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


class LocalSlurm(slurm_pool.SlurmPool):
    """SLURM's pool on submitit's local executor, which has no queue with dependencies."""

    def __init__(self, root: Path, environment: Mapping[str, str], options: Mapping[str, str]) -> None:
        super().__init__(root, environment, options, cluster="local")

    def submit_ahead(self, stages: object) -> None:
        pass


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study file of a real study, as small as can be, and beside it what it gives here."""
    folder, conf = tmp_path_factory.mktemp("real"), Path(__file__).parents[1] / "conf"
    study = yaml.safe_load((conf / "study/digits.yaml").read_text())
    configs = {key: str(conf / key / "digits.yaml") for key in ("shadow", "query", "audit")}
    rows = [{"method": str(conf / "ptq/adaround.yaml"), "bits": [2], "adaptive": False}]
    (folder / "study.yaml").write_text(yaml.safe_dump({**study, **configs, "fleet": 6, "quantize": rows}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "disabled")
        command.main(["--config", str(folder / "study.yaml"), "--output", str(folder / "local"), "--jobs", "2"])
    return folder / "study.yaml"


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["ray", "slurm"])
def test_a_real_study_gives_the_same_results_on_every_engine(
    real: Path, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip({"ray": "ray", "slurm": "submitit"}[engine])
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setattr(slurm_pool, "SlurmPool", LocalSlurm)
    local, root = real.parent / "local", real.parent / engine
    command.main(["--config", str(real), "--output", str(root), "--jobs", "2", "--engine", engine])
    for path in (local / "results.csv", *sorted(local.glob("confidence/*/*.npz"))):
        assert path.read_bytes() == (root / path.relative_to(local)).read_bytes(), path
