"""Write what finished models answer: the confidences that an audit reads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from callbacks.closing import closing_lines, quality
from lit_privq.artifacts.confidences import Dump, write_dump
from lit_privq.artifacts.diverged import Diverged
from lit_privq.artifacts.variant import Variant
from lit_privq.data.datamodule import is_trial, takes_all
from lit_privq.query import Query


class DumpLogits(L.Callback):
    """Write each model's confidences to ``<default_root_dir>/confidence/<variant>/<index>.npz``.

    Row n is example n of the pool, column q its q-th query; the test set stands beside it. Confidences are
    taken in the forward pass; logits, which are as many times larger as there are classes, only with
    ``model.logits`` set.
    """

    def on_predict_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start with no answers: one list for the pool, one for the test set."""
        if not isinstance(pl_module, Query):
            raise ValueError(
                f"DumpLogits writes what lit_privq.query.Query answers; got {type(pl_module).__name__}, "
                "set model.class_path in the query's config"
            )
        if not is_trial(trainer) and not takes_all(trainer.limit_predict_batches):
            raise ValueError(
                "an audit needs what a model says of every example; got limit_predict_batches "
                f"{trainer.limit_predict_batches}, leave it out (to try a config, set trainer.fast_dev_run true)"
            )
        self.answers: tuple[list[dict[str, Tensor]], list[dict[str, Tensor]]] = ([], [])

    def on_predict_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,  # noqa: ANN401  # Lightning's signature
        batch: Any,  # noqa: ANN401
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Move a batch's answers to the CPU."""
        self.answers[dataloader_idx].append({name: value.cpu() for name, value in outputs.items()})

    def on_predict_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Join the answers in the order of the examples, write one file per model, and print how good each is.

        Raises:
            Diverged: if models answer NaN or infinity; the files of the others are written.
        """
        assert isinstance(pl_module, Query)
        data = pl_module.data
        if is_trial(trainer):
            rank_zero_info("fast_dev_run is a trial: no confidences are written")
            return
        pool = self._join(0, len(data.pool.labels))
        test = self._join(1, len(data.pool.test_labels))
        written, diverged = [], dict[int, str]()
        for k, (model, checkpoint) in enumerate(zip(data.models, pl_module.read, strict=True)):
            made = checkpoint["lit_privq"]
            path = Path(trainer.default_root_dir) / "confidence" / made["variant"] / f"{model:03d}.npz"
            if wrong := _not_finite(pool["confidence"][k], made["variant"], model):
                path.unlink(missing_ok=True)  # of an earlier checkpoint
                diverged[model] = wrong
                continue
            dump = Dump(
                confidence=pool["confidence"][k],
                labels=data.pool.labels.numpy(),
                members=data.members[model],
                calibration=np.asarray(made.get("calibration", []), dtype=np.int64),
                test_confidence=test["confidence"][k],
                test_correct=test["correct"][k, :, 0],
                meta={
                    **_meta(made),
                    "precision": trainer.precision,
                    "n_queries": len(data.queries),
                    **_split(data.hparams),
                },
                logits=pool["logits"][k] if "logits" in pool else None,
                test_labels=data.pool.test_labels.numpy() if data.pool.n_classes else None,
                slices={name: mask.numpy() for name, mask in data.pool.slices.items()},
            )
            write_dump(path, dump)
            written.append((path, quality({pl_module.task.metric: float(test["correct"][k, :, 0].mean())})))
        print(*closing_lines(written), sep="\n", end="\n" if written else "")
        if diverged:
            raise Diverged(
                f"{'; '.join(diverged.values())}; their training or quantization diverged: make its checkpoint again, "
                "with a lower learning rate if it was trained",
                list(diverged),
            )

    def _join(self, which: int, n_examples: int) -> dict[str, np.ndarray[Any, Any]]:
        """Batches to arrays (models, examples, queries, ...)."""
        batches = self.answers[which]
        joined = {name: torch.cat([batch[name] for batch in batches], dim=1) for name in batches[0]}
        return {
            name: value.unflatten(1, (-1, n_examples)).movedim(1, 2).contiguous().numpy()  # queries last
            for name, value in joined.items()
        }


def _meta(made: Mapping[str, Any]) -> dict[str, Any]:
    """What a dump says of its model."""
    variant = Variant.parse(made["variant"])
    kept = {key: made[key] for key in ("dataset", "net", "fingerprint", "index")}
    return {
        **kept,
        "method": variant.method,
        "bits": variant.bits,
        "last_bits": variant.last_bits,
        "layers": variant.layers,
        "recipe": variant.recipe,
        "repeat": variant.repeat,
        "size_bytes": made.get("size_bytes"),
        "float_weights": made.get("float_weights", 0),
        "accountant_epsilon": made.get("dp_sgd", {}).get("epsilon"),
    }


def _split(options: Mapping[str, Any]) -> dict[str, int]:
    """What a dump says of the split."""
    return {key: options[key] for key in ("n_shadows", "n_targets", "split_seed")}


def _not_finite(confidence: np.ndarray[Any, Any], variant: str, model: int) -> str:
    """What is wrong with a network that answers NaN or infinity; empty if none of its answers is."""
    bad = ~np.isfinite(confidence).all(axis=-1)
    if not bad.any():
        return ""
    return (
        f"model {model} ({variant}) answers NaN or infinity on {bad.sum()} of {len(bad)} examples, first on example "
        f"{np.flatnonzero(bad)[0]}"
    )
