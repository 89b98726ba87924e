import re
from pathlib import Path

import pytest

from lit_privq.artifacts.results import Result, write_results
from lit_privq.artifacts.variant import FULL_PRECISION, Variant
from lit_privq.reproduce import Claim, Quantity, main, read_claims, reproduce

SMALL = Variant("descent", 2, 2)
ATTACK = {"metric": "tpr_at_0.01", "attacker": "unaware", "attack": "threshold"}
FOUND = Quantity("descent-2", **ATTACK)


def a_study(folder: Path) -> None:
    """Two targets, in full precision and at two bits: means of 0.2 and 0.1."""
    rates = {FULL_PRECISION: (0.1, 0.3), SMALL: (0.05, 0.15)}
    write_results(
        folder / "results.csv",
        [
            Result("digits", "net", variant, target, "unaware", "threshold", "tpr_at_0.01", value)
            for variant, values in rates.items()
            for target, value in enumerate(values)
        ],
    )


def claim(expected: float, tolerance: float, run: str = "-c pass", less: Quantity | None = None) -> Claim:
    return Claim("it falls", run, 1, "study", FOUND, less, expected, tolerance)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    (tmp_path / "study").mkdir()
    a_study(tmp_path / "study")
    return tmp_path


def test_a_claim_is_met_within_its_tolerance(output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert reproduce("falls", claim(0.11, 0.02), output)
    assert "falls: met: 0.1, expected 0.11 ± 0.02" in capsys.readouterr().out


def test_a_claim_is_not_met_outside_its_tolerance(output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert not reproduce("falls", claim(0.2, 0.02), output)
    assert "falls: not met: 0.1, expected 0.2 ± 0.02" in capsys.readouterr().out


def test_a_difference_is_one_mean_less_another(output: Path) -> None:
    assert reproduce("falls", claim(-0.1, 1e-9, less=Quantity("none-32", **ATTACK)), output)


def test_a_command_that_fails_meets_no_claim(output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert not reproduce("falls", claim(0.1, 1.0, run="-c 'raise SystemExit(3)'"), output)
    assert "not met: the command ended with status 3" in capsys.readouterr().out


def test_the_command_writes_to_the_folder_that_is_read(tmp_path: Path) -> None:
    command = claim(0, 0, run="-c pass --output {output}").command(tmp_path / "a folder")
    assert command[1:] == ["-c", "pass", "--output", str(tmp_path / "a folder/study")]


def test_a_claim_without_a_number_rests_on_the_exit_status(tmp_path: Path) -> None:
    assert reproduce("tests pass", Claim("they pass", "-c pass", 1), tmp_path)


def test_a_number_that_was_not_measured_is_said(output: Path) -> None:
    with pytest.raises(ValueError, match=r"results\.csv must hold Quantity\(variant='descent-1'"):
        reproduce("falls", Claim("it falls", "-c pass", 1, "study", Quantity("descent-1", **ATTACK)), output)


def test_every_claim_of_this_repository_has_a_tolerance_and_names_a_study() -> None:
    for name, one in read_claims().items():
        assert (one.tolerance > 0 and one.study) if one.value else not one.study, name


def test_the_artifact_lists_every_claim_with_its_value() -> None:
    text = Path("ARTIFACT.md").read_text()
    for name, one in read_claims().items():
        assert f"| `{name}` | {one.says} | {one.minutes:g} | {one.target} |" in text


def test_the_findings_name_claims_that_exist() -> None:
    rows = [line for line in Path("docs/results/findings.md").read_text().splitlines() if line.count("|") > 3]
    named = re.findall(r"`(\w+)`", " ".join(line.split("|")[-2] for line in rows))
    assert len(named) > 10
    assert set(named) <= set(read_claims())


def test_the_stored_results_meet_the_claims_about_their_studies() -> None:
    stored = Path("docs/results")
    kept = {path.parent.name for path in stored.glob("*/results.csv")} - {"digits"}  # of which only a part is stored
    claims = [one for one in read_claims().values() if one.value and one.study in kept]
    assert len(claims) > 15
    for one in claims:
        assert one.measure(stored) == pytest.approx(one.expected, abs=one.tolerance), one.says


def test_all_claims_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--list"])
    listed = capsys.readouterr().out
    assert all(name in listed for name in read_claims())


def test_an_unknown_claim_is_refused() -> None:
    with pytest.raises(ValueError, match="no claim is called nothing; there are "):
        main(["nothing"])


def test_outside_a_clone_the_remedy_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"the claims are in docs/claims\.yaml of a clone"):
        main(["--list"])


def test_a_misspelt_key_is_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "claims.yaml"
    file.write_text("falls: {says: it falls, run: -c pass, minute: 1}\n")
    with pytest.raises(ValueError, match="minute"):
        read_claims(file)


def test_a_claim_that_is_not_met_ends_with_status_1(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lit_privq.reproduce.read_claims", lambda: {"falls": claim(0.5, 0.01)})
    with pytest.raises(SystemExit) as ended:
        main(["falls", "--output", str(output)])
    assert ended.value.code == 1


def exhibits() -> list[list[str]]:
    """The rows of the artifact's table of figures and tables."""
    text = Path("ARTIFACT.md").read_text(encoding="utf-8").partition("## Every figure")[2].partition("\n## ")[0]
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| ")
    ]


def test_every_exhibit_of_both_papers_is_listed_with_configs_that_are_there() -> None:
    rows = exhibits()[1:]
    listed = {row[0] for row in rows}
    assert listed >= {"Fig. 1", "Table I", "Fig. 2", "Fig. 3", "Fig. 4 a", "Fig. 4 b", "Fig. 5", "Fig. 6"}
    assert listed >= {f"indicator, Fig. {number}" for number in range(1, 6)}
    configs = [name for row in rows for name in re.findall(r"`(configs/[^`]+)`", row[2])]
    assert [name for name in configs if not Path(name).is_file()] == []
