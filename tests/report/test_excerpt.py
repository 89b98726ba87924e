import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lit_privq.report import build, build_several
from lit_privq.report.command import main
from lit_privq.report.excerpt import keep
from lit_privq.report.inputs import read_inputs


def without_scores(directory: Path, output: Path) -> Path:
    """A study's folder as it is without what the audit kept of single examples."""
    output.mkdir(parents=True)
    for name in ("results.csv", "metrics.json", "study.json"):
        shutil.copy(directory / name, output / name)
    return output


def test_the_page_of_an_excerpt_is_that_of_the_study_without_its_scores(measured_study: Path, tmp_path: Path) -> None:
    whole = without_scores(measured_study, tmp_path / "whole")
    kept = keep(measured_study, tmp_path / "kept")
    assert build(kept).read_text() == build(whole).read_text()


def test_an_excerpt_holds_numbers_of_the_study_and_no_others(measured_study: Path, tmp_path: Path) -> None:
    whole, cut = (read_inputs(folder)[0] for folder in (measured_study, keep(measured_study, tmp_path / "kept")))
    assert len(cut.results.series) < len(whole.results.series)
    assert len(cut.measures.means) < len(whole.measures.means)
    assert all(repr(whole.results.series[key]) == repr(cells) for key, cells in cut.results.series.items())
    for name in ("means", "changes", "gaps", "bounds"):
        before, after = (getattr(view.measures, name) for view in (whole, cut))
        assert after
        assert all(repr(before[key]) == repr(one) for key, one in after.items())
    assert cut.results.attacks == whole.results.attacks


def test_the_page_of_an_excerpt_with_recipes_and_repeats_is_that_of_the_study(
    made_up: Callable[..., Path], tmp_path: Path
) -> None:
    models = ("none-32", "none-32@narrow", "brecq-1.58", *(f"brecq-1.58~{repeat}" for repeat in (1, 2, 3)))
    leaks = {name: [0.10 - 0.01 * place, 0.12, 0.15 + 0.001 * place, 0.11] for place, name in enumerate(models)}
    audited = made_up(
        leaks, {name: [0.9, 0.88, 0.91, 0.9 - 0.01 * len(name)] for name in models}, slices={"canaries": leaks}
    )
    (audited / "study.json").write_text(json.dumps({"name": "made_up"}))
    page = build(keep(audited, tmp_path / "kept")).read_text()
    assert page == build(without_scores(audited, tmp_path / "whole")).read_text()
    assert "quantized up to 4 times" in page


@pytest.mark.parametrize("targets", [1, 3])
def test_slices_of_single_targets_are_kept_where_the_page_reads_them(
    made_up: Callable[..., Path], tmp_path: Path, targets: int
) -> None:
    leaks = {"none-32": [0.10, 0.12, 0.11][:targets], "obc-2": [0.07, 0.08, 0.06][:targets]}
    slices = {"canaries": leaks, "class_0": leaks, "most_vulnerable": leaks}
    audited = made_up(leaks, {"none-32": [0.9] * targets, "obc-2": [0.8] * targets}, slices=slices)
    (audited / "study.json").write_text(json.dumps({"name": "made_up"}))
    kept = keep(audited, tmp_path / "kept")
    assert build(kept).read_text() == build(without_scores(audited, tmp_path / "whole")).read_text()
    held = {key.slice for key in read_inputs(kept)[0].results.series}
    assert held == {"all", *(slices if targets == 1 else ["canaries"])}


def test_the_command_draws_and_then_keeps(
    measured_study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy, output = shutil.copytree(measured_study, tmp_path / "copy"), tmp_path / "new" / "kept"
    main([str(copy), "--excerpt", str(output)])
    assert capsys.readouterr().out.split() == [str(copy / "report.html"), str(output)]
    assert sorted(path.name for path in output.iterdir()) == ["metrics.json", "results.csv", "study.json"]


@pytest.mark.parametrize("same", [True, False])
def test_an_excerpt_never_takes_the_place_of_a_study(measured_study: Path, tmp_path: Path, same: bool) -> None:
    copy = shutil.copytree(measured_study, tmp_path / "copy")
    other = copy if same else shutil.copytree(measured_study, tmp_path / "other")
    (other / "results.csv").write_bytes(before := (copy / "results.csv").read_bytes() + b"\n")
    with pytest.raises(ValueError, match=r"^an excerpt needs a folder of its own; .* holds audit of a study"):
        main([str(copy), "--excerpt", str(other)])
    assert (other / "results.csv").read_bytes() == before
    assert not (copy / "report.html").exists()


def test_an_excerpt_takes_the_place_of_an_older_one_whole(measured_study: Path, tmp_path: Path) -> None:
    kept = keep(measured_study, tmp_path / "kept")
    bare = without_scores(measured_study, tmp_path / "bare")
    (bare / "study.json").unlink()
    assert sorted(path.name for path in keep(bare, kept).iterdir()) == ["metrics.json", "results.csv"]


def test_one_page_is_drawn_over_several_excerpts(measured_study: Path, tmp_path: Path) -> None:
    kept, whole = [], []
    for name in ("one", "two"):
        study = Path(shutil.copytree(measured_study, tmp_path / name))
        (study / "study.json").write_text(json.dumps({"name": name}))
        kept.append(keep(study, tmp_path / "kept" / name))
        whole.append(without_scores(study, tmp_path / "whole" / name))
    pages = [build_several(each, tmp_path / str(k)) for k, each in enumerate((kept, whole))]
    assert pages[0].read_text() == pages[1].read_text()


def test_an_excerpt_of_several_studies_is_refused(measured_study: Path, tmp_path: Path) -> None:
    folders = [str(measured_study), str(measured_study), "--output", str(tmp_path / "page")]
    with pytest.raises(ValueError, match=r"^--excerpt is for one study"):
        main([*folders, "--excerpt", str(tmp_path / "kept")])
