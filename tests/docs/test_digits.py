"""The confidences that are kept in docs/results/digits, and what its page says of them."""

from __future__ import annotations

import re
import shlex
import statistics
from pathlib import Path
from typing import Any

import pytest

from lit_privq.__main__ import run
from lit_privq.artifacts.results import Key, Results, read_results
from lit_privq.artifacts.variant import Variant

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs/results/digits"
PAGE = (FOLDER / "digits.md").read_text(encoding="utf-8")
AUDIT, OWN = (shlex.split(line)[3:] for line in re.findall(r"^    (python -m lit_privq audit .*)$", PAGE, re.MULTILINE))
QUICK = ["--resamples", "0", "--report", "false"]


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """What the page's command finds, without its intervals and page."""
    output = tmp_path_factory.mktemp("digits")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        assert run([*AUDIT, *QUICK, "--output", str(output)]) == 0
    return read_results(output / "results.csv")


def test_the_command_of_the_page_finds_the_stored_numbers(audited: Results) -> None:
    stored = read_results(FOLDER / "results.csv")
    assert len(stored.series) > 30
    for key, cells in stored.series.items():
        found = {target: cell.value for target, cell in audited.series[key].items()}
        assert found == pytest.approx({target: cell.value for target, cell in cells.items()}, abs=1e-9, nan_ok=True), (
            key
        )


def test_the_table_of_the_page_is_rounded_from_what_is_found(audited: Results) -> None:
    variants = {"full precision": Variant.parse("none-32"), "Descent, 1.58 bits": Variant.parse("descent-1.58")}
    rows = re.findall(r"^\| (full precision|Descent, 1.58 bits) \| (\w+) \| (.*) \|$", PAGE, re.MULTILINE)
    assert len(rows) == 4
    for name, attacker, cells in rows:
        leak = (variants[name], "tpr_at_0.01", attacker, "lira_online_fixed")
        keys = [Key(variants[name], "accuracy"), Key(*leak), Key(*leak, slice="canaries")]
        means = [statistics.fmean(cell.value for cell in audited.series[key].values()) for key in keys]
        assert [f"{100 * mean:.1f}" for mean in means] == cells.split(" | ")


def test_the_files_are_small_enough_for_a_repository() -> None:
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) < 500_000


def test_an_attack_of_ones_own_is_scored_on_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    own = re.findall(r"```python\n(# my_attack\.py\n.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)
    (tmp_path / "my_attack.py").write_text(own[0])
    for name in ("docs", "configs"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    exec(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[0], {})
    printed = dict(re.findall(r"^(\w+) +TPR at 1 % FPR +([\d.]+)%", capsys.readouterr().out, re.MULTILINE))
    assert printed["lira_online_fixed"] == "8.8"
    assert run([*OWN, *QUICK]) == 0
    found = read_results(tmp_path / "runs/mine/results.csv")
    mean = statistics.fmean(found.values(Variant.parse("descent-1.58"), "tpr_at_0.01", "adaptive", "midpoint").values())
    assert f"{100 * mean:.1f}" == printed["midpoint"]
