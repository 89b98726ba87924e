"""Lightning's verbs (fit, validate, test, predict) over our modules; the other verbs never import this file."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sys
import warnings
from collections.abc import Sequence
from itertools import pairwise, takewhile
from pathlib import Path
from typing import Any

import lightning as L
import yaml
from jsonargparse import ArgumentError, Namespace
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.utilities import rank_zero_warn

from lit_privq.arguments import in_order, is_from_parser, sentence
from lit_privq.artifacts.checkpoint import (
    check_resumable,
    checkpoint_path,
    is_intact,
    read_checkpoint,
    read_hyper_parameters,
)
from lit_privq.artifacts.config import config_tree
from lit_privq.artifacts.construction import plain
from lit_privq.artifacts.trust import check_trusted, packages, resolve
from lit_privq.classifier import Classifier
from lit_privq.data.datamodule import ShadowDataModule, check_one_device
from lit_privq.progress_lines import ProgressLines
from lit_privq.verbs import VERBS

_PROG = "python -m lit_privq"

# Lightning's hints that do not apply: batches are made on the device, and one step an epoch is meant.
_HINTS = (
    "LightningCLI's args parameter",
    "The '[a-z_]+' does not have many workers",
    "The number of training batches",
    "GPU available but not used",
    "`isinstance\\(treespec, LeafSpec\\)`",
    "You passed `.*` to the Trainer",
    "The `srun` command",
    "You passed in a `val_dataloader` but have no `validation_step`",
    "`LightningModule.configure_optimizers` returned `None`",
)


# What a trainer may be told otherwise when a training goes on.
_NO_RECIPE = ("default_root_dir", "callbacks", "logger", "enable_progress_bar")


class Config(SaveConfigCallback):
    """Hand the resolved config to the callbacks that log it, instead of writing a file that runs would overwrite."""

    def save_config(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Give every callback that has a ``config`` the resolved one."""
        resolved = yaml.safe_load(self.parser.dump(self.config))
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(getattr(callback, "config", None), dict):
                callback.config = resolved


class PrivqCLI(LightningCLI):
    """Lightning's command line with fleets: a range of models trains as one `Fleet`."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Give networks and data one seed of training noise, and add ``--trust``."""
        parser.link_arguments("seed_everything", "data.seed")
        parser.add_argument(
            "--trust",
            nargs="+",
            default=[],
            metavar="PACKAGE",
            help="packages, beside torchvision and lit_privq, whose networks and data sets a checkpoint may name",
        )

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:  # noqa: ANN401  # Lightning's
        """Refuse a checkpoint that names other code than the user: Lightning, next, builds what ``ckpt_path`` says.

        Nor does a fit go on from a finished model.
        """
        super().parse_arguments(parser, args)
        config = self.config[self.config.subcommand] if "subcommand" in self.config else self.config
        path = Path(config.get("ckpt_path") or "")
        if path.is_file():
            check_trusted(read_hyper_parameters(path), [*config.trust, *packages(plain(config))], path)
            if self.config.get("subcommand") == "fit":
                check_resumable(path, L.__version__)

    def before_instantiate_classes(self) -> None:
        """Replace a `Classifier` by a `Fleet` where several models are trained, and resume a stopped training."""
        config = self.config[self.subcommand] if self.subcommand else self.config
        if self.subcommand in ("fit", "predict"):
            check_writable(Path(config.trainer.default_root_dir or "."))
        if "checkpoint" in config.model.get("init_args", {}):
            config.model.init_args.trust = [*config.model.init_args.get("trust", []), *config.trust]
        trains = self.subcommand in ("fit", None)
        if trains and ":" in config.data.model_index and resolve(config.model.class_path) is Classifier:
            config.model.class_path = "lit_privq.fleet.Fleet"
        if self.subcommand == "fit":
            resume = resume_checkpoint(config)
            callbacks = config.trainer.callbacks or []
            for callback in callbacks if isinstance(callbacks, list) else [callbacks]:
                if callback.class_path.endswith("WriteCheckpoints"):
                    callback.init_args.resume = str(resume)
            if config.get("ckpt_path") is None and can_resume(resume):
                config.ckpt_path = str(resume)

    def after_instantiate_classes(self) -> None:
        """Refuse several devices before Lightning starts a process for each."""
        check_one_device(self.trainer)


class _Built(Exception):
    """A command line was built; carries the parser of its verb."""

    def __init__(self, parser: LightningArgumentParser) -> None:
        self.parser = parser


class _OnlyParser(PrivqCLI):
    """Builds the parser and nothing else, which Lightning does not offer."""

    def parse_arguments(self, *_: object) -> None:
        """Hand the parser over before anything is parsed.

        Raises:
            _Built: always.
        """
        (parser,) = self._subcommand_parsers.values()
        raise _Built(parser)


def check_writable(folder: Path) -> None:
    """Refuse an output folder that cannot be made or written to: before hours of work, not after.

    Raises:
        ValueError: naming the folder, or the file in its place.
    """
    nearest = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        what = "is read-only" if nearest.is_dir() else "is a file, not a folder"
        raise ValueError(
            f"nothing can be written to {folder}: {nearest} {what}; set another --trainer.default_root_dir"
        )


def can_resume(resume: Path) -> bool:
    """Whether there is a resume checkpoint to go on from; a damaged one is removed, and training begins anew."""
    if not resume.is_file():
        return False
    if is_intact(resume):
        return True
    rank_zero_warn(f"the resume checkpoint {resume} is damaged, so the training begins anew")
    resume.unlink()
    return False


def resume_checkpoint(config: Namespace) -> Path:
    """Where a training keeps its state while it runs: a name that only the same models and the same recipe share."""
    trainer = {key: value for key, value in config.trainer.as_dict().items() if key not in _NO_RECIPE}
    recipe = {"model": config.model, "data": config.data, "trainer": trainer}
    text = json.dumps(plain({**recipe, "seed": config.seed_everything}), sort_keys=True, default=str)
    digest = hashlib.blake2b(text.encode(), digest_size=6).hexdigest()
    return Path(config.trainer.default_root_dir or ".") / "checkpoints" / f".resume-{digest}.ckpt"


def main(argv: Sequence[str]) -> None:
    """Run one Lightning verb.

    Args:
        argv: the verb and its options, as a person would type them.

    Raises:
        ValueError: for whatever a user can put right; the message says how.
        KeyboardInterrupt: after Ctrl-C.
        SystemExit: if help was asked for.
    """
    try:
        run_cli(argv)
    except (ArgumentError, ValueError) as error:
        if not is_from_parser(error):
            raise
        raise ValueError(f"{sentence(str(error))} ({_PROG} {argv[0]} --help lists the options)") from error
    except MisconfigurationException as error:
        raise ValueError(
            f"the trainer cannot do what it was asked to: {sentence(str(error))}; correct its options, such as "
            "--trainer.accelerator auto"
        ) from error
    except SystemExit as end:
        if isinstance(end.__context__, KeyboardInterrupt):  # which Lightning turns into status 1
            raise KeyboardInterrupt from None
        raise


def parser(verb: str) -> LightningArgumentParser:
    """The parser of one of Lightning's verbs, as completion and the reference of options need it."""
    try:
        _cli([verb], run=True, base=_OnlyParser)
    except _Built as built:
        return built.parser
    raise AssertionError  # `_OnlyParser` always ends in `_Built`


def run_cli(argv: Sequence[str], run: bool = True) -> PrivqCLI:
    """Parse a command line and, with ``run``, execute it."""
    with warnings.catch_warnings():
        for hint in _HINTS:
            warnings.filterwarnings("ignore", message=f".*{hint}.*")
        warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"lightning\.pytorch\.cli")
        for name in ("lightning.pytorch", "lightning.fabric"):
            logging.getLogger(name).setLevel(logging.WARNING)
        return _cli(argv, run)


def _cli(argv: Sequence[str], run: bool, base: type[PrivqCLI] = PrivqCLI) -> PrivqCLI:
    """Lightning parses, and with ``run`` also runs, in the constructor."""
    lines = [] if sys.stderr.isatty() else [ProgressLines(sys.stderr)]
    verb = {argv[0]: LightningCLI.subcommands()[argv[0]]} if run else {}  # building a parser costs 0.2 s a verb
    cli = type("PrivqCLI", (base,), {"subcommands": staticmethod(lambda: verb)})
    made: PrivqCLI = cli(
        L.LightningModule,
        ShadowDataModule,
        subclass_mode_model=True,
        save_config_callback=Config,
        save_config_kwargs={"save_to_log_dir": False},
        seed_everything_default=0,
        auto_configure_optimizers=False,  # the model brings its own, and would train by another
        trainer_defaults={"enable_progress_bar": not lines, "callbacks": lines},
        parser_kwargs={"prog": _PROG, "exit_on_error": False, **{name: _parser_options(name) for name in verb}},
        args=with_checkpoints_data(argv),
        run=run,
    )
    return made


def _parser_options(verb: str) -> dict[str, Any]:
    """Errors as exceptions, and below the options an example."""
    example = f"example: {_PROG} {verb} {VERBS[verb].example}"
    return {"prog": f"{_PROG} {verb}", "exit_on_error": False, "epilog": example}


def with_checkpoints_data(argv: Sequence[str]) -> list[str]:
    """Take the data section from the checkpoint that a command names; what the command says itself has precedence.

    Configs are read before options, wherever they stand. ``predict --ckpt_path X`` becomes ``predict --model.checkpoint
    X``, as a checkpoint may stand for a fleet's here, and ``--data_root`` is ``--data.root``, as a study spells it.
    """
    verb, options = list(argv[:1]), list(argv[1:])
    if verb and verb[0].startswith("-"):  # a parser without verbs
        verb, options = [], list(argv)
    spelled = {"--data_root": "--data.root"} | ({"--ckpt_path": "--model.checkpoint"} if verb == ["predict"] else {})
    arguments = [spelled.get(part, part) for part in in_order(options, words=["--trust"])]
    names = {"--model.checkpoint", "--model.init_args.checkpoint"}
    names |= {"--ckpt_path"} if verb in (["validate"], ["test"]) else set()
    at = next((k for k, part in enumerate(arguments[:-1]) if part in names), None)
    if at is None:
        return [*verb, *arguments]
    after = [k + 2 for k, part in enumerate(arguments) if part in ("--config", "-c")]
    configs = [path for k in after if (path := Path(arguments[k - 1])).is_file()]
    section = yaml.safe_dump({"data": _data_section(verb, arguments, arguments[at + 1], configs)})
    last = max(after, default=0)
    return [*verb, *arguments[:last], "--config", section, *arguments[last:]]


def _data_section(verb: list[str], arguments: Sequence[str], pattern: str, configs: Sequence[Path]) -> dict[str, Any]:
    """The data section with which a checkpoint (of a fleet: its first) was made, without what each command sets anew.

    A fit, which may train with rounded weights, keeps the batch size; how many are queried at once changes no result.

    A data set of the user's own, by class path, is taken from it where the command trusts or itself names its package.
    """
    given = dict(pairwise(arguments)).get("--data.model_index")
    if given is None and "{index" in pattern:
        raise ValueError(f"{pattern} stands for many checkpoints; say which with --data.model_index 0:16")
    path = checkpoint_path(pattern, int((given or "0").partition(":")[0] or 0))
    made = read_checkpoint(path)["lit_privq"]
    named = [package for config in configs for package in packages(config_tree(config))]
    check_trusted(made["data"], [*_trusted(arguments), *named], path)
    now = ("seed", "_instantiator", "n_queries", "root", "download", *(() if verb == ["fit"] else ("batch_size",)))
    section = {key: value for key, value in made["data"].items() if key not in now}
    return {**section, "model_index": given or str(made["index"])}


def _trusted(arguments: Sequence[str]) -> list[str]:
    """The words behind ``--trust``, before anything is parsed."""
    if "--trust" not in arguments:
        return []
    return list(takewhile(lambda part: not part.startswith("-"), arguments[arguments.index("--trust") + 1 :]))
