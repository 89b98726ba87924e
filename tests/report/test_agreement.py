"""A battery: over made-up audits, no two statements of headline, tables, text and notebook contradict each other."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from html import unescape
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest

from lit_privq.artifacts.measures import read_measures
from lit_privq.artifacts.results import read_results
from lit_privq.artifacts.variant import Variant
from lit_privq.metrics import holm
from lit_privq.report import build
from lit_privq.report.headline import headline
from lit_privq.report.inputs import Inputs, read_inputs
from lit_privq.report.sections import differences, numbers
from lit_privq.report.view import View

MadeUp = Callable[..., Path]
NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "01_tradeoff.ipynb"
Leaks = Mapping[str, Sequence[float]]


def around(mean: float, spread: float, targets: int, seed: int) -> list[float]:
    """Values of targets that lie around a mean, by a fixed seed."""
    return (mean + spread * np.random.default_rng(seed).normal(size=targets)).clip(0, 1).tolist()


def moved(values: Sequence[float], by: float, spread: float, seed: int) -> list[float]:
    """The same targets after a change that differs from target to target."""
    return (np.array(values) + around(by, spread, len(values), seed)).clip(0, 1).tolist()


def situations() -> Iterator[tuple[str, Leaks]]:
    """Clear, unclear and contradictory-looking results of 1, 2, 4 and 10 targets."""
    for targets in (1, 2, 4, 10):
        full = around(0.12, 0.02, targets, 1)
        yield f"clear-{targets}", {"none-32": full, "obc-2": moved(full, -0.08, 0.004, 2)}
        yield f"unclear-{targets}", {"none-32": full, "obc-2": moved(full, -0.005, 0.03, 3)}
        yield f"rise-{targets}", {"none-32": full, "obc-2": moved(full, 0.08, 0.004, 4)}
        yield f"none-{targets}", {"none-32": full, "obc-2": full}
        yield f"equal-{targets}", {"none-32": full, "obc-2": [value - 0.03 for value in full]}
        yield f"small_equal-{targets}", {"none-32": full, "obc-2": [value + 0.0007 for value in full]}
        several = {f"obc-{bits}": moved(full, -0.02, 0.02, bits) for bits in (2, 3, 4, 5, 6)}
        yield f"several-{targets}", {"none-32": full, **several, "obc-8": moved(full, 0.06, 0.004, 9)}
        yield f"guessing-{targets}", {"none-32": around(0.011, 0.004, targets, 5)}
        yield f"far_apart-{targets}", {"none-32": [0.02 + 0.2 * place / targets for place in range(targets)]}
    # Seen: "do not show that quantization protects" above "lowers leakage by 0.90 points (0.18 to 1.62), p = 0.019".
    full, steps = around(0.10, 0.02, 10, 6), np.linspace(-1, 1, 10) / np.linspace(-1, 1, 10).std(ddof=1)
    yield "seen_saving", {"none-32": full, "obc-4": (np.array(full) - 0.009 + 0.00995 * steps).tolist()}
    # Seen: "leakage clearly rises" beside +0.07 points, p = 0.5; two targets, one member more each.
    yield "seen_rise", {"none-32": [0.05, 0.06], "descent-2": [0.0507, 0.0607]}
    # Seen: "6.8 %, not told apart from 1 % by chance" beside an interval of [2.1, 27.4] %.
    yield "seen_guessing", {"none-32": [0.025, 0.04, 0.07, 0.137]}


SITUATIONS = dict(situations())


@pytest.fixture(params=SITUATIONS)
def folder(request: pytest.FixtureRequest, made_up: MadeUp) -> Path:
    """One of the situations, on disk; accuracy falls with the bits."""
    leaks = SITUATIONS[request.param]
    falls = {name: 0.9 - 0.1 / Variant.parse(name).bits for name in leaks}
    return made_up(leaks, {name: around(falls[name], 0.003, len(leaks[name]), 8) for name in leaks})


def plain(text: str) -> str:
    return text.replace("\xa0", " ")


def said(view: View) -> str:
    """Headline and text."""
    found = headline(view)
    return plain(" ".join([found.sentence, *found.details]))


def verdicts(view: View) -> dict[str, str]:
    """What the audit says of every variant, by its label."""
    found = {variant: view.saving(variant) for variant in view.results.variants if variant.quantized}
    return {plain(view.label(variant)): change.verdict for variant, change in found.items() if change}


def test_an_interval_and_a_p_value_never_disagree(folder: Path) -> None:
    measures = read_measures(folder / "metrics.json", read_results(folder / "results.csv"))
    for change in measures.changes.values():
        leaves_zero_out = change.low > 0 or change.high < 0
        assert (change.p < 0.05) == leaves_zero_out == (change.alone in ("lower", "higher"))
        assert change.verdict in (change.alone, "unclear")
    for mean in measures.means.values():
        assert (mean.verdict == "higher") == (mean.low > mean.chance)


def test_the_headline_names_a_saving_just_where_the_audit_shows_one(folder: Path) -> None:
    view, _ = read_inputs(folder)
    lower = [name for name, verdict in verdicts(view).items() if verdict == "lower"]
    sentence = plain(headline(view).sentence)
    named = re.match(r"The (?:least costly|largest) saving is (.*?): it brings", sentence)
    assert (named is not None) == bool(lower)
    assert named is None or named[1] in lower
    unclear = bool(verdicts(view)) and not lower and len(view.results.targets) > 1
    assert ("no saving is clear" in sentence) == unclear


def test_what_the_text_says_of_a_variant_is_its_verdict(folder: Path) -> None:
    view, _ = read_inputs(folder)
    verbs = {"lower": " lowers leakage by", "higher": " raises leakage by"}
    text = said(view)
    for name, verdict in verdicts(view).items():
        for side, verb in verbs.items():
            elsewhere = "in this target" in text  # of one target it is said where it holds
            assert f"{name}{verb}" not in text or verdict == side or elsewhere


def test_tables_are_strong_just_where_the_audit_shows_a_difference(folder: Path) -> None:
    view, _ = read_inputs(folder)
    summary = numbers.summary(view)
    if "Change of leakage" not in summary.heads:
        assert verdicts(view) == {}
        return
    column = summary.heads.index("Change of leakage") - 1
    shown = {plain(row.name): row.cells[column].strong for row in summary.rows[1:]}
    assert shown == {name: verdict in ("lower", "higher") for name, verdict in verdicts(view).items()}
    section = differences.section(view, Inputs())
    assert section is not None
    assert {plain(row.name): row.cells[1].strong for row in section.values["table"].rows} == shown
    cells = [row.cells[column] for row in summary.rows[1:]]
    assert all(cell.note.endswith("unclear") == (not cell.strong) for cell in cells if len(view.results.targets) > 1)


def test_random_guessing_is_told_apart_just_where_the_interval_beside_it_is(folder: Path) -> None:
    view, _ = read_inputs(folder)
    leak = view.leak(view.results.variants[0])
    assert leak is not None
    text = said(view)
    if leak.targets == 1:
        assert "for other targets" not in text
        return
    assert ("times random guessing" in text) == (leak.low > 0.01)
    assert ("not told apart from random guessing (1 %) for other targets" in text) == (leak.low <= 0.01 <= leak.high)
    every = f"in each of these {leak.targets} targets above it by the target’s own interval"
    assert (every in text) == (leak.verdict == "unclear" and leak.above == leak.targets)
    together = f"these {leak.targets} targets, taken together, are above it by the interval of their examples"
    assert (together in text) <= (leak.verdict == "unclear" and leak.these == "higher")


def test_one_target_is_never_given_an_interval_for_other_targets(folder: Path) -> None:
    view, _ = read_inputs(folder)
    if len(view.results.targets) == 1:
        page = unescape(build(folder).read_text(encoding="utf-8"))
        assert "interval for other targets" not in page
        assert "for other targets)" not in page
        assert all(np.isnan([mean.low, mean.high]).all() for mean in view.measures.means.values())
        assert all(np.isnan([change.low, change.p]).all() for change in view.measures.changes.values())


def test_what_was_seen_to_contradict_itself_agrees(made_up: MadeUp) -> None:
    view, _ = read_inputs(made_up(SITUATIONS["seen_saving"]))
    assert "The largest saving is obc 4 bits" in said(view)
    assert re.search(r"obc 4 bits lowers leakage by 0\.9 points \(0\.2 to 1\.6\), p = 0\.019\.", said(view))
    view, _ = read_inputs(made_up(SITUATIONS["seen_rise"]))
    assert "raises" not in said(view)
    assert "changes leakage by +0.1 points" in said(view)
    view, _ = read_inputs(made_up(SITUATIONS["seen_guessing"]))
    assert re.search(r"6\.8 % .*for other targets\), 6\.8 times random guessing \(1 %\)\.", said(view))


def test_each_of_these_targets_and_other_targets_are_two_statements(made_up: MadeUp) -> None:
    view, _ = read_inputs(made_up({"none-32": [0.05, 0.30], "obc-2": [0.03, 0.10]}, noise=0.004))
    assert plain(headline(view).sentence).endswith("With 2 targets no saving is clear.")
    assert "In each of these 2 targets leakage is lower with obc 2 bits, by the target’s own interval." in said(view)
    assert "no difference shown for other targets; each of these 2 targets is below full precision" in said(view)
    assert "in each of these 2 targets above it by the target’s own interval" in said(view)


def test_the_notebook_answers_what_the_page_answers(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LIT_PRIVQ_STUDY", str(folder))
    monkeypatch.setattr(plt, "show", lambda: plt.close("all"))
    plt.switch_backend("agg")
    names: dict[str, Any] = {}
    for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)
    view, _ = read_inputs(folder)
    assert headline(view).sentence in capsys.readouterr().out
    assert dict(names["changes"].get("verdict", {})) == {
        variant.name: change.verdict for variant in view.results.variants if (change := view.saving(variant))
    }


def test_the_tests_on_the_worst_slice_are_counted_among_themselves_only(made_up: MadeUp) -> None:
    full = around(0.8, 0.02, 4, 1)
    canaries = {"none-32": full} | {f"obc-{bits}": moved(full, -0.06, 0.02, bits) for bits in (2, 4, 8)}
    found = []
    for leaks in (0.0, -0.08):  # whatever all members do
        average = around(0.12, 0.01, 4, 5)
        others = {name: moved(average, leaks, 0.004, 6) for name in canaries if name != "none-32"}
        slices = {"canaries": canaries, "most_vulnerable": canaries}
        view, _ = read_inputs(made_up({"none-32": average, **others}, slices=slices))
        focus, changes = view.focus, view.measures.changes
        assert focus.worst == "canaries"
        assert set(focus.worst_family) == set(focus.family) == {"obc-8", "obc-4", "obc-2"}
        tests = [changes[focus.worst_key(Variant.parse(name))] for name in focus.worst_family]
        assert [test.holm for test in tests] == pytest.approx(holm([test.p for test in tests]))
        for test in tests:
            assert test.verdict == (test.alone if test.holm < 0.05 else "unclear")
        found.append([test.holm for test in tests])
        rest = [c for key, c in changes.items() if key.slice == "most_vulnerable"]
        assert all(np.isnan(change.holm) for change in rest)
    assert found[0] == pytest.approx(found[1])
