import io
import re

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


def test_a_terminal_has_a_bar_for_each_stage_with_its_rate_and_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    progress = StudyProgress(JOBS, 2, Terminal(), clock)
    for job in TRAIN:
        progress.begin(job)
    clock.now = 8.0
    progress.finish(TRAIN[0], 8.0)
    clock.now = 10.0
    assert progress.lines() == [
        f"train    {12 * '█'}{12 * ' '} 4/8  24/min",
        f"query    {24 * ' '} 0/8",
        f"audit    {24 * ' '} 0/1",
        f"report   {24 * ' '} 0/1",
        "10 s gone, time left unknown yet; running: train-1 (10 s)",
    ]


def test_bars_are_drawn_over_each_other_and_what_is_said_stays_above_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    stream = Terminal()
    progress = StudyProgress(JOBS, 2, stream)
    progress.show()
    progress.show()
    progress.say("train-1 failed")
    progress.show()
    progress.close()
    shown = screen(stream.getvalue())
    assert shown[0] == "train-1 failed"
    assert [line.split()[0] for line in shown[1:]] == ["train", "query", "audit", "report", "0"]
    assert all(len(line) < 40 for line in shown)


def screen(written: str) -> list[str]:
    """What a terminal shows in the end, for line feeds and the two escapes that are used."""
    lines, at = [""], 0
    for part in re.split(r"(\n|\r|\x1b\[\d*[AJ])", written):
        if part == "\n":
            at += 1
            lines += [""] * (at == len(lines))
        elif part.endswith("A"):
            at -= int(part[2:-1])
        elif part.endswith("J"):
            lines[at:] = [""]
        elif part != "\r":
            lines[at] = part or lines[at]
    return lines[:-1]


def test_a_bar_needs_no_letters_that_a_terminal_lacks() -> None:
    class Plain(Terminal):
        encoding = "ascii"

    progress = StudyProgress(TRAIN, 1, Plain())
    progress.finish(TRAIN[0], 1.0)
    assert progress.lines()[0].startswith(f"train    {12 * '#'}{12 * '.'} 4/8")
