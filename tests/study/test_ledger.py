import json
import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest

import lit_privq.study.ledger
from lit_privq import __version__
from lit_privq.study.ledger import Ledger
from lit_privq.study.plan import Job, Product
from lit_privq.study.receipt import Receipt, file_stamp, write_receipt

A, B = Product("a.ckpt", "r"), Product("b.ckpt", "r")
TRAIN = Job("train", "train", ("fit",), (A, B))
QUERY = Job("query", "query", ("predict",), (Product("a.npz", "r", ("a.ckpt",)),), needs=("train",))
REPORT = Job("report", "report", ("report",), (Product("report.html", "r", ("a.npz",), beside="figures"),))


def run(ledger: Ledger, job: Job, content: str = "content") -> None:
    """Write a job's outputs and record it."""
    paths = [*job.outputs, *(f"{folder}/{n}.svg" for folder in job.folders for n in range(2))]
    for path in paths:
        (ledger.root / path).parent.mkdir(exist_ok=True)
        (ledger.root / path).write_text(content)
    stamps = {path: file_stamp(ledger.root / path) for path in paths}
    recipes = {product.path: product.recipe for product in job.products}
    ledger.take(Receipt(job.name, stamps, ledger.hashes(job), seconds=1.0, recipes=recipes))


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    ledger = Ledger(tmp_path)
    run(ledger, TRAIN)
    run(ledger, QUERY)
    return ledger


def test_a_recorded_job_is_finished_at_the_next_start(ledger: Ledger) -> None:
    assert Ledger(ledger.root).unfinished([TRAIN, QUERY]) == {}
    assert len((ledger.root / "jobs.jsonl").read_text().splitlines()) == 2


def test_a_file_that_was_never_made_is_new(tmp_path: Path) -> None:
    assert Ledger(tmp_path).unfinished([TRAIN, QUERY]) == {"a.ckpt": "new", "b.ckpt": "new", "a.npz": "waiting"}


def test_files_are_finished_one_by_one_whatever_job_made_them(ledger: Ledger) -> None:
    other_deal = [
        Job("train-0", "train", ("fit",), (A,)),
        Job("train-1", "train", ("fit",), (B, replace(A, path="c.ckpt"))),
    ]
    assert ledger.unfinished(other_deal) == {"c.ckpt": "new"}


def test_a_file_of_another_recipe_or_from_other_inputs_has_changed(ledger: Ledger) -> None:
    (dump,) = QUERY.products
    assert ledger.reason(replace(dump, recipe="other")) == "changed: its config, or the code that this names"
    assert ledger.reason(replace(dump, inputs=("a.ckpt", "b.ckpt"))) == "changed: what it is made from"


def test_another_version_of_the_package_repeats_every_job(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lit_privq.study.ledger, "__version__", "9.9")
    why = f"changed: it was made by version {__version__}, this is 9.9"
    assert ledger.unfinished([TRAIN]) == {"a.ckpt": why, "b.ckpt": why}


def test_files_on_record_in_the_form_of_earlier_versions_have_changed(ledger: Ledger) -> None:
    lines = [json.loads(line) for line in ledger.path.read_text().splitlines()]
    kept = ("name", "outputs", "seconds", "finished")
    earlier = [{key: line[key] for key in kept} | {"hash": "0"} for line in lines]
    ledger.path.write_text("".join(f"{json.dumps(line)}\n" for line in earlier))
    why = f"changed: it was made by version of an earlier form, this is {__version__}"
    assert Ledger(ledger.root).unfinished([TRAIN]) == {"a.ckpt": why, "b.ckpt": why}


def test_a_ledger_of_the_last_version_without_receipts_is_read(ledger: Ledger) -> None:
    lines = [json.loads(line) for line in ledger.path.read_text().splitlines()]
    kept = ("name", "outputs", "hashes", "seconds", "finished")
    ledger.path.write_text("".join(f"{json.dumps({key: line[key] for key in kept})}\n" for line in lines))
    assert Ledger(ledger.root).unfinished([TRAIN, QUERY]) == {}


def test_a_job_is_repeated_if_its_input_was_written_anew_and_differs(ledger: Ledger) -> None:
    run(ledger, TRAIN)
    assert ledger.is_finished(QUERY), "the same content again"
    run(ledger, TRAIN, content="another")
    assert not ledger.is_finished(QUERY)


def test_an_input_is_judged_by_the_job_that_wrote_it_last(ledger: Ledger) -> None:
    run(ledger, Job("train-0", "train", ("fit",), (A,)), content="another")
    assert not ledger.is_finished(QUERY)
    run(ledger, TRAIN)
    assert Ledger(ledger.root).is_finished(QUERY)


def test_a_damaged_file_is_made_again_with_those_that_its_job_made(ledger: Ledger) -> None:
    (ledger.root / "b.ckpt").write_text("longer content")
    deal = [Job("train-0", "train", ("fit",), (A,)), Job("train-1", "train", ("fit",), (B,)), QUERY]
    assert ledger.unfinished(deal) == {
        "a.ckpt": "made together with a damaged file", "b.ckpt": "b.ckpt is damaged", "a.npz": "waiting",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["0.svg", "1.svg"])
def test_a_file_beside_a_product_belongs_to_its_job(ledger: Ledger, name: str) -> None:
    run(ledger, REPORT)
    assert ledger.is_finished(REPORT)
    (ledger.root / "figures" / name).unlink()
    assert Ledger(ledger.root).unfinished([REPORT]) == {"report.html": f"figures/{name} is damaged"}


def test_work_is_shared_out_to_files(ledger: Ledger) -> None:
    assert (ledger.seconds([A]), ledger.seconds([A, B]), ledger.seconds(QUERY.products)) == (0.5, 1.0, 1.0)


@pytest.mark.parametrize("content", ["", "longer content", "CONTENT"])
def test_a_damaged_output_is_found(ledger: Ledger, content: str) -> None:
    (ledger.root / "b.ckpt").write_text(content)
    os.utime(ledger.root / "b.ckpt", ns=(1, 1))
    assert Ledger(ledger.root).reason(B) == "b.ckpt is damaged"


def test_a_missing_output_is_found(ledger: Ledger) -> None:
    (ledger.root / "b.ckpt").unlink()
    assert Ledger(ledger.root).reason(B) == "b.ckpt is damaged"


def test_a_touched_output_is_read_and_found_intact(ledger: Ledger) -> None:
    os.utime(ledger.root / "b.ckpt", ns=(1, 1))
    assert Ledger(ledger.root).is_finished(TRAIN)


def test_damage_that_leaves_size_and_time_alone_is_found_when_asked_for(ledger: Ledger) -> None:
    path = ledger.root / "b.ckpt"
    time = path.stat().st_mtime_ns
    path.write_text("kontent")
    os.utime(path, ns=(time, time))
    assert Ledger(ledger.root).is_finished(TRAIN)
    assert Ledger(ledger.root, verify=True).reason(B) == "b.ckpt is damaged"


@pytest.mark.parametrize("n_bytes", [1, 20, 60])
def test_a_torn_last_line_costs_only_its_own_job(ledger: Ledger, n_bytes: int) -> None:
    path = ledger.root / "jobs.jsonl"
    path.write_bytes(path.read_bytes()[:-n_bytes])
    again = Ledger(ledger.root)
    if n_bytes > 1:  # the newline alone may go: the record is whole
        assert again.unfinished([TRAIN, QUERY]) == {"a.npz": "new"}
        run(again, QUERY)
    run(again, Job("other", "train", ("fit",), (Product("c.ckpt", "r"),)))
    assert {maker.name for maker in Ledger(ledger.root).makers.values()} == {"train", "query", "other"}


def test_a_line_that_is_no_record_is_skipped(ledger: Ledger) -> None:
    path = ledger.root / "jobs.jsonl"
    first, last = path.read_text().splitlines()
    path.write_text(f'{first}\n17\n{{"name": "x"}}\n\x00\x00\n{last}\n')
    assert {maker.name for maker in Ledger(ledger.root).makers.values()} == {"train", "query"}


def finish_alone(ledger: Ledger, job: Job, content: str = "content") -> None:
    """Write a job's outputs and its receipt, as a job does that no study looks after."""
    for path in job.outputs:
        (ledger.root / path).write_text(content)
    stamps = {path: file_stamp(ledger.root / path) for path in job.outputs}
    write_receipt(ledger.root, Receipt(job.name, stamps, ledger.hashes(job), seconds=1.0))


def test_the_receipt_of_a_job_that_ran_elsewhere_is_read_taken_once_and_removed(tmp_path: Path) -> None:
    finish_alone(Ledger(tmp_path), TRAIN)
    finish_alone(Ledger(tmp_path), QUERY)
    ledger = Ledger(tmp_path)
    assert ledger.unfinished([TRAIN, QUERY]) == {}, "read before it is taken"
    ledger.take_waiting()
    assert list((tmp_path / "receipts").iterdir()) == []
    again = Ledger(tmp_path)
    again.take_waiting()
    assert len(again.path.read_text().splitlines()) == 2
    assert again.unfinished([TRAIN, QUERY]) == {}


def test_a_receipt_that_was_taken_but_not_removed_yet_changes_nothing(tmp_path: Path) -> None:
    finish_alone(Ledger(tmp_path), TRAIN)
    left = (tmp_path / "receipts/train.json").read_bytes()
    Ledger(tmp_path).take_waiting()
    (tmp_path / "receipts/train.json").write_bytes(left)  # killed in between
    assert Ledger(tmp_path).unfinished([TRAIN]) == {}
    again = Ledger(tmp_path)
    again.take_waiting()
    assert list((tmp_path / "receipts").iterdir()) == []
    assert len(again.path.read_text().splitlines()) == 1


def test_a_damaged_receipt_costs_only_its_own_job(tmp_path: Path) -> None:
    finish_alone(Ledger(tmp_path), TRAIN)
    finish_alone(Ledger(tmp_path), QUERY)
    path = tmp_path / "receipts/query.json"
    path.write_bytes(path.read_bytes()[:-20])
    assert Ledger(tmp_path).unfinished([TRAIN, QUERY]) == {"a.npz": "new"}


def test_a_receipt_says_how_long_the_job_took_and_where_it_ran(ledger: Ledger) -> None:
    receipt = Ledger(ledger.root).makers["a.ckpt"]
    assert (receipt.seconds, receipt.host) == (1.0, socket.gethostname())
