import pytest

from lit_privq.tracking import MODES, check_mode


@pytest.mark.parametrize("mode", ["", *MODES])
def test_the_modes_that_wandb_knows_are_taken(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", mode)
    check_mode()


def test_another_mode_is_refused_with_the_ones_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "nonsense")
    with pytest.raises(ValueError, match=r"one of online, offline, disabled, shared; got nonsense, set or unset it$"):
        check_mode()
