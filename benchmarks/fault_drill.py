"""Faults amid a study: kills, damage, a full disk, a clock that jumps back, a machine that is lost.

python benchmarks/fault_drill.py [--quick] [--json FILE]

The study has 114 jobs that write small files and take most of a second each; its engine, ledger, receipts and lock
are the real ones. While it runs, its driver and workers are killed, and its files damaged, in an order drawn from a
seed; the same command is given again whenever the driver has ended, as a user would. In the end results.csv must be,
byte for byte, that of a study that nobody disturbed. The disk that is full is a file system of 8 MB in memory, which a
file is made to fill; it needs Linux, whose `unshare` lets anybody mount one. The clock that jumps back is that of a
job: what it calls the time, and the times of its files. In a second drill the study runs on two Ray nodes, of which
one is killed.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from made_up import study_file
from rows import Row, options, show

from lit_privq.artifacts.atomic import atomic_write_bytes
from lit_privq.study.ledger import Ledger
from lit_privq.study.receipt import Receipt

HERE = Path(__file__).parent
SEED = 0
JOB_SECONDS = 0.8
DRIVER = (
    "import sys; from lit_privq.study.command import main; from lit_privq.study.tasks import Hooks; "
    "main(sys.argv[1:], Hooks('fault_drill:run', 'fault_drill:choose', 'made_up:facts'))"
)
METHODS = ("a", "b", "c")


def run(argv: Sequence[str]) -> None:
    """What a job does here: files that depend on its command and on what it reads."""
    option = dict(zip(argv[1::2], argv[2::2], strict=False))
    root = Path(option.get("--trainer.default_root_dir") or option.get("--output") or argv[1])
    if (root.parent / "clock").exists():
        _set_clock_back(3600.0)
    time.sleep(JOB_SECONDS)
    if argv[0] in ("audit", "report"):
        inputs = sorted((root / "confidence").glob("*/*.npz")) if argv[0] == "audit" else [root / "results.csv"]
        content = hashlib.sha256(b"".join(path.read_bytes() for path in inputs)).hexdigest()
        names = ("results.csv", "metrics.json", "vulnerability.npz") if argv[0] == "audit" else ("report.html",)
        for name in names:
            _write(root / name, content)
        return
    start, stop = map(int, option["--data.model_index"].split(":"))
    parent = option.get("--model.checkpoint") or option.get("--ckpt_path") or ""
    for index in range(start, stop):
        content = Path(parent.format(index=index)).read_text() if parent else "weights"
        for folder in _folders(argv[0], option):
            _write(root / folder.format(index=index), f"{content} {folder} {index}")


def _folders(verb: str, option: dict[str, str]) -> list[str]:
    if verb == "predict":
        return [f"confidence/{Path(option['--ckpt_path']).parent.name}/{{index:03d}}.npz"]
    if "--model.bits" not in option:
        return ["checkpoints/none-32/{index:03d}.ckpt"]
    bits = json.loads(option["--model.bits"])
    return [f"checkpoints/{option['--model.name']}-{one:g}/{{index:03d}}.ckpt" for one in bits]


def _write(path: Path, content: str) -> None:
    root = next(parent for parent in path.parents if (parent.parent / "drill.txt").exists())
    atomic_write_bytes(path, hashlib.sha256(content.encode()).hexdigest().encode() * 20)
    if (root.parent / "clock").exists():
        os.utime(path, (time.time() - 3600,) * 2)


def _set_clock_back(seconds: float) -> None:
    """What the system's clock says, in this process."""
    true = time.strftime
    back = time.localtime(time.time() - seconds)
    time.strftime = lambda form, at=back: true(form, at)  # type: ignore[assignment]


def choose(*_: object) -> dict[str, Any]:
    """Two models at once."""
    return {"size": 2, "why": "the drill says so"}


@dataclass
class Drill:
    """A study in a folder of its own, and what was done to it."""

    folder: Path
    more: tuple[str, ...] = ()
    starts: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    finished: dict[str, Receipt] = field(default_factory=dict)  # undamaged, when a driver had ended
    damaged: set[str] = field(default_factory=set)
    driver: subprocess.Popen[bytes] | None = None

    @property
    def root(self) -> Path:
        """The study's folder."""
        return self.folder / "runs"

    def start(self, *more: str) -> subprocess.Popen[bytes]:
        """Give the command; also where it was given before."""
        argv = [
            "--config",
            str(self.folder / "study.yaml"),
            "--output",
            str(self.root),
            "--jobs",
            "2",
            *self.more,
            *more,
        ]
        paths = os.pathsep.join([str(HERE), *filter(None, sys.path)])
        with (self.folder / "said.txt").open("ab") as said:
            self.driver = subprocess.Popen(
                [sys.executable, "-c", DRIVER, *argv],
                stdout=said,
                stderr=said,
                start_new_session=True,
                env={**os.environ, "PYTHONPATH": paths, "WANDB_MODE": "disabled"},
            )
        self.starts += 1
        return self.driver

    def results(self) -> bytes:
        """results.csv; empty if there is none."""
        path = self.root / "results.csv"
        return path.read_bytes() if path.exists() else b""

    def note_finished(self) -> None:
        """Remember what is finished; whatever of it is made again later, undamaged, was lost."""
        for path, receipt in Ledger(self.root).makers.items():
            if path not in self.damaged:
                self.finished.setdefault(path, receipt)

    def forget(self, path: str) -> None:
        """A damaged file is made again, with those that its job made."""
        maker = Ledger(self.root).makers[path]
        for other in maker.outputs:
            self.finished.pop(other, None)
            self.damaged.add(other)

    def lost(self) -> int:
        """Files that were finished, undamaged, and made again."""
        makers = Ledger(self.root).makers
        whole = ("audit", "report")  # made again whenever what they are made from was not there for a while
        return sum(makers[p] != r for p, r in self.finished.items() if r.name not in whole)

    def repeated(self) -> int:
        """Jobs that were started more often than once."""
        logs = (path.read_text() for path in (self.root / "logs").glob("*-*.log"))
        return sum(max(0, text.count("python -m lit_privq") - 1) for text in logs)


def children(pid: int) -> list[int]:
    """Processes that a process started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(path.parent.name))
    return found


def kill(drill: Drill, draw: random.Random) -> str:
    """Kill the driver or one of its workers."""
    assert drill.driver is not None
    workers = children(drill.driver.pid)
    victim = draw.choice([drill.driver.pid, *workers[:2]])
    try:
        os.kill(victim, signal.SIGKILL)
    except ProcessLookupError:
        return "kill -9 of a worker that had just ended"
    return "kill -9 of the driver" if victim == drill.driver.pid else "kill -9 of a worker"


def finished(drill: Drill) -> list[str]:
    """Files that can be damaged: some that are finished are about to be made again, and not there."""
    paths = (path for path in Ledger(drill.root).makers if path.startswith(("checkpoints/a", "confidence/b")))
    return sorted(path for path in paths if (drill.root / path).is_file())


def damage(drill: Drill, kind: str, draw: random.Random) -> None:
    """Damage a file that is finished."""
    path = draw.choice(finished(drill))
    drill.forget(path)
    file = drill.root / path
    content, status = file.read_bytes(), file.stat()
    if kind == "a removed file":
        file.unlink()
    elif kind == "a truncated file":
        file.write_bytes(content[: len(content) // 2])
    else:
        file.write_bytes(bytes([content[0] ^ 1]) + content[1:])
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def disturbed(drill: Drill, n_kills: int) -> None:
    """Run a study to its end with a fault every now and then."""
    draw = random.Random(SEED)
    damages = ["a truncated file", "a removed file", "a flipped byte, its time kept", "a torn line in the ledger"]
    events = ["kill"] * n_kills + damages + ["a full disk", "a clock an hour back"]
    draw.shuffle(events)
    verify: tuple[str, ...] = ()
    while True:
        driver = drill.start(*verify)
        while driver.poll() is None and (events or driver.wait()):
            while driver.poll() is None and not children(driver.pid):
                time.sleep(0.05)  # until it has workers, and so has looked at the files
            verify = () if children(driver.pid) else verify
            time.sleep(draw.uniform(0.5, 2.0))
            if driver.poll() is not None or not (drill.root / "jobs.jsonl").exists():
                continue
            event = events.pop()
            if event == "kill":
                event = kill(drill, draw)
                time.sleep(0.2)
            elif event == "a full disk":
                fill(drill.root / "ballast")
                assert driver.wait() == 1
                assert "no space is left" in (drill.folder / "said.txt").read_text()
                (drill.root / "ballast").unlink()
            elif event == "a clock an hour back":
                (drill.folder / "clock").touch()
            else:
                driver.kill()
                driver.wait()
                drill.note_finished()
                if "line" in event:
                    path = drill.root / "jobs.jsonl"
                    last = path.read_bytes().splitlines()[-1]
                    drill.forget(next(iter(json.loads(last)["outputs"])))
                    path.write_bytes(path.read_bytes()[:-20])
                elif finished(drill):
                    damage(drill, event, draw)
                    verify = ("--verify",) if "byte" in event else ()
                else:
                    events.insert(0, event)  # there is nothing to damage yet
                    continue
            drill.faults[event] += 1
        drill.note_finished()
        if driver.returncode == 0:
            if not events:
                return
            remove_folder(drill, draw)  # so that there is something to disturb


def fill(path: Path) -> None:
    """Write a file until there is no space left."""
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """A file system of 8 MB in the place of a folder."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def in_own_mounts() -> None:
    """Begin anew where file systems can be mounted that nobody else sees."""
    if os.environ.get("OWN_MOUNTS") is None:
        os.environ["OWN_MOUNTS"] = "yes"
        os.execvp("unshare", ["unshare", "--map-root-user", "--mount", sys.executable, *sys.argv])


def remove_folder(drill: Drill, draw: random.Random) -> None:
    """Remove all quantized models of one variant."""
    folder = draw.choice(sorted((drill.root / "checkpoints").glob("[abc]-*")))
    for path in sorted(folder.iterdir()):
        drill.forget(path.relative_to(drill.root).as_posix())
        path.unlink()
    drill.faults["a removed folder of 20 files"] += 1


def two_nodes(drill: Drill) -> str:
    """Run a study on two Ray nodes and kill one when a third of it is done."""
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": 2**27}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    other = cluster.add_node(**node)
    drill.more = ("--engine", "ray", "--address", cluster.address)
    driver = drill.start()
    while driver.poll() is None and len(Ledger(drill.root).makers) < 60:
        time.sleep(0.5)
    before = len(Ledger(drill.root).makers)
    cluster.remove_node(other, allow_graceful=False)
    driver.wait()
    cluster.shutdown()
    return f"killed after {before} files; the driver ended with status {driver.returncode}"


def main() -> None:
    chosen = options(__doc__)
    in_own_mounts()
    n_kills = 8 if chosen.quick else 30
    with tempfile.TemporaryDirectory() as name:
        drills = [Drill(Path(name) / which) for which in ("undisturbed", "disturbed", "nodes")]
        for drill in drills:
            drill.root.mkdir(parents=True)
            (drill.folder / "drill.txt").touch()
            study_file(drill.folder, METHODS, [4, 2], shadows=16, targets=4, fleet=2)
        calm, faulty, nodes = drills
        calm.start().wait()
        with small_disk(faulty.root):
            disturbed(faulty, n_kills)
            shutil.copytree(faulty.root, faulty.folder / "copy")
        shutil.copytree(faulty.folder / "copy", faulty.root, dirs_exist_ok=True)
        said = two_nodes(nodes)
        same = [drill.results() == calm.results() != b"" for drill in (faulty, nodes)]
        jobs = len({receipt.name for receipt in Ledger(calm.root).makers.values()})
        rows = [
            Row("jobs of the study", jobs, None, "jobs"),
            *(Row(f"survived: {fault}", n, None, "times") for fault, n in sorted(faulty.faults.items())),
            Row("starts of the same command", faulty.starts, None, "times"),
            Row("jobs repeated, killed or damaged", faulty.repeated(), None, "jobs"),
            Row("results lost: finished, undamaged files made again", faulty.lost(), None, "files"),
            Row("results.csv is that of the undisturbed study", float(same[0]), None, "1 = yes"),
            Row("two Ray nodes, one killed: jobs repeated", nodes.repeated(), None, "jobs", note=said),
            Row("two Ray nodes, one killed: results.csv is the same", float(same[1]), None, "1 = yes"),
        ]
    show(rows, chosen.json)


if __name__ == "__main__":
    main()
