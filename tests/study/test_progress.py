import io

import pytest

from lit_privq.study.plan import Job, Product
from lit_privq.study.progress import StudyProgress


def products(*models: int) -> tuple[Product, ...]:
    return tuple(Product(f"{model:03d}.ckpt", "") for model in models)


TRAIN = [Job(f"train-{k}", "train", (), products(*range(4 * k, 4 * k + 4))) for k in range(2)]
QUERY = [Job("query", "query", (), products(*range(8)))]
JOBS = [*TRAIN, *QUERY, Job("audit", "audit", (), products(0, 1)), Job("report", "report", (), products(0))]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_models_are_counted_by_stage() -> None:
    progress = StudyProgress(JOBS, 2, io.StringIO())
    progress.finish(TRAIN[0], 8.0)
    assert progress.counts() == "train 4/8, query 0/8, audit 0/1, report 0/1"


def test_time_left_goes_by_what_each_stage_took() -> None:
    clock = Clock()
    progress = StudyProgress(JOBS, 2, io.StringIO(), clock)
    progress.finish(TRAIN[0], 40.0)
    assert progress.time_left() == "more than 40 s left"  # 4 models at 10 s, in one job; queries are not known yet
    progress.begin(TRAIN[1])
    clock.now = 30.0
    assert progress.time_left() == "more than 10 s left"
    progress.finish(TRAIN[1], 40.0)
    progress.finish(QUERY[0], 1.0)
    assert progress.time_left() == "time left unknown yet", "nobody knows what audit and report will take"
    for job in JOBS[-2:]:
        progress.finish(job, 1.0)
    assert progress.time_left() == "done"


def test_a_job_that_takes_longer_than_its_like_is_not_said_to_be_about_done() -> None:
    clock = Clock()
    progress = StudyProgress(TRAIN, 1, io.StringIO(), clock)
    progress.finish(TRAIN[0], 40.0)
    progress.begin(TRAIN[1])
    for clock.now, said in [(39.0, "about 1 s left"), (41.0, "time left unknown yet"), (80.0, "time left unknown yet")]:
        assert progress.time_left() == said


def test_the_last_job_takes_its_time_however_many_workers_there_are() -> None:
    progress = StudyProgress(TRAIN, 8, io.StringIO(), Clock())
    progress.finish(TRAIN[0], 40.0)
    assert progress.time_left() == "about 40 s left"


def test_what_earlier_starts_did_is_counted_and_tells_how_long_the_rest_takes() -> None:
    progress = StudyProgress(TRAIN, 1, io.StringIO(), Clock(), earlier={"train": (8, 80.0), "audit": (1, 9.0)})
    assert progress.counts() == "train 8/16, audit 1/1"
    assert progress.time_left() == "about 1 min 20 s left"


def test_a_job_that_turns_out_to_be_finished_says_nothing_of_the_time_that_others_take() -> None:
    progress = StudyProgress(TRAIN, 1, io.StringIO(), Clock())
    progress.finish(TRAIN[0], 0.0)
    assert progress.time_left() == "time left unknown yet"


def test_a_failed_job_counts_as_not_begun() -> None:
    clock = Clock()
    progress = StudyProgress(TRAIN, 1, io.StringIO(), clock)
    progress.finish(TRAIN[0], 40.0)
    progress.begin(TRAIN[1])
    clock.now = 30.0
    progress.fail(TRAIN[1])
    assert progress.time_left() == "about 40 s left"


def test_elsewhere_a_line_comes_when_something_changed_or_ten_seconds_passed() -> None:
    clock, stream = Clock(), io.StringIO()
    progress = StudyProgress(JOBS, 2, stream, clock)
    for now, n_lines in [(0.0, 1), (5.0, 1), (10.0, 2), (12.0, 2)]:
        clock.now = now
        progress.show()
        assert len(stream.getvalue().splitlines()) == n_lines
    progress.finish(TRAIN[0], 1.0)
    progress.show()
    assert stream.getvalue().splitlines()[-1].startswith("train 4/8, query 0/8, audit 0/1, report 0/1; 12 s gone")


def test_a_terminal_has_one_line_that_is_rewritten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    stream = Terminal()
    progress = StudyProgress(JOBS, 2, stream)
    progress.show()
    progress.show()
    progress.say("train-1 failed")
    progress.close()
    lines = stream.getvalue().split("\n")
    assert len(lines) == 3
    assert lines[0].endswith("\rtrain-1 failed")
    assert all(len(part) < 40 for line in lines for part in line.split("\r"))
