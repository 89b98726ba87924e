from collections.abc import Callable
from pathlib import Path

import pytest

from lit_privq.report.command import main
from lit_privq.report.view import View


def test_a_missing_or_empty_folder_is_one_clear_sentence(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="is not there"):
        main([str(tmp_path / "nowhere")])
    with pytest.raises(FileNotFoundError, match="run `audit` first"):
        main([str(tmp_path)])


def test_the_page_is_printed_and_help_shows_an_example(
    write_view: Callable[..., View], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_view({"attacker": "unaware", "attack": "threshold", "metric": "auc", "value": 0.6})
    main([str(tmp_path)])
    assert capsys.readouterr().out.strip() == str(tmp_path / "report.html")
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "python -m lit_privq report runs/demo" in capsys.readouterr().out
