"""An audit at the end of a predict."""

from __future__ import annotations

from pathlib import Path

import lightning as L

from lit_privq import audit


class MembershipAudit(L.Callback):
    """Audit ``<default_root_dir>/confidence`` as ``python -m lit_privq audit`` does; listed behind `DumpLogits`.

    The audit reads the confidences of all models of the study, so the predict that carries it is the last one.

    Args:
        config: the audit's config file.
    """

    def __init__(self, config: str = "configs/audit/default.yaml") -> None:
        self.config = config

    def on_predict_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Run the audit where the confidences lie."""
        folder = Path(trainer.default_root_dir)
        audit.main(["--config", self.config, "--input", str(folder / "confidence"), "--output", str(folder)])
