"""The direction of imports, as CONTRIBUTING.md draws it: read from the source, and seen in fresh interpreters."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = sorted(path.parent.relative_to(ROOT).as_posix() for path in ROOT.glob("lit_privq/**/__init__.py"))

RINGS = (
    {"api", "arguments", "artifacts", "attacks", "commit", "data", "dp_sgd", "export", "indicator", "metrics", "models",
     "plot", "quantization", "verbs"},
    {"calibration", "qat", "quantizing", "classifier", "data.datamodule", "fleet", "progress_lines", "query"},
    {"__main__", "audit", "cli", "completion", "report", "reproduce", "study", "tracking"},
    {"callbacks"},
)  # fmt: skip
"""From the inside out; what is in a ring imports nothing from a later one."""

TORCH = {"torch", "torchvision"}
OUTSIDE = {"lightning", "pytorch_lightning", "wandb", "torchmetrics", "callbacks", "ray"}
LIGHTNING = {f"lit_privq.{name}" for name in ("classifier", "calibration", "fleet", "query", "cli", "data.datamodule")}
ATTACKS = {"lit_privq.attacks", "lit_privq.metrics", "lit_privq.audit"}
QUANTIZERS = {"lit_privq.quantization", "lit_privq.models"}


@cache
def modules() -> Mapping[str, ast.Module]:
    """Every module by its name, parsed."""
    paths = [path for top in ("lit_privq", "callbacks") for path in ROOT.glob(f"{top}/**/*.py")]
    named = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in paths}
    return {name: ast.parse(path.read_text()) for name, path in named.items() if path.stem != "__init__"}


def imported(name: str) -> set[str]:
    """The modules of ours that a module imports anywhere in it, by statement or by ``import_module``."""
    found = set()
    for node in ast.walk(modules()[name]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            found |= {argument.value for argument in node.args if isinstance(argument, ast.Constant)}
    return {one for one in found if one in modules() and one != name}


def part_of(name: str) -> str:
    """The part of the house that a module belongs to."""
    top, inner, *_ = name.split(".")
    return "data.datamodule" if name == "lit_privq.data.datamodule" else inner if top == "lit_privq" else top


def arrows() -> Iterator[tuple[str, str]]:
    """Every import from one part of the house to another, as a pair of modules."""
    for name in modules():
        yield from ((name, other) for other in imported(name) if part_of(other) != part_of(name))


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    """A circle in a graph of who imports whom, empty if there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        found: list[str] = error.args[1]
        return found
    return []


def test_every_part_of_the_house_has_its_ring() -> None:
    assert {part_of(name) for name in modules()} == set.union(*RINGS)


def test_no_part_of_the_house_imports_from_a_ring_outside_its_own() -> None:
    ring = {part: number for number, parts in enumerate(RINGS) for part in parts}
    assert [pair for pair in arrows() if ring[part_of(pair[1])] > ring[part_of(pair[0])]] == []


def test_the_parts_of_the_house_import_each_other_without_a_circle() -> None:
    graph: dict[str, set[str]] = {}
    for name, other in arrows():
        graph.setdefault(part_of(name), set()).add(part_of(other))
    assert circle(graph) == []


def test_modules_import_each_other_without_a_circle() -> None:
    assert circle({name: imported(name) for name in modules()}) == []


def test_a_circle_would_be_seen() -> None:
    assert set(circle({"a": {"b"}, "b": {"c"}, "c": {"a"}})) == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("names", "forbidden"),
    [
        (["lit_privq.__main__"], OUTSIDE | TORCH | {"numpy", "jsonargparse", "yaml"}),
        ([package.replace("/", ".") for package in PACKAGES], OUTSIDE | TORCH | {"numpy", "scipy", "matplotlib"}),
        (["lit_privq.attacks.*"], OUTSIDE | TORCH | LIGHTNING | QUANTIZERS),
        (["lit_privq.metrics.*"], OUTSIDE | TORCH | LIGHTNING | QUANTIZERS | {"lit_privq.attacks"}),
        (
            ["lit_privq.data.membership", "lit_privq.artifacts.confidences", "lit_privq.artifacts.results",
             "lit_privq.indicator.shadows", "lit_privq.audit.command", "lit_privq.report.page",
             "lit_privq.study.command", "lit_privq.plot.*"],
            OUTSIDE | TORCH | LIGHTNING,
        ),
        (["lit_privq.quantization.*"], OUTSIDE | LIGHTNING | ATTACKS | {"lit_privq.study", "lit_privq.data"}),
        (["lit_privq.models.*", "lit_privq.data.pool"], OUTSIDE | LIGHTNING | ATTACKS | {"lit_privq.quantization"}),
        (["lit_privq.export.*", "lit_privq.artifacts.*"], OUTSIDE | LIGHTNING | ATTACKS),
        (["lit_privq.indicator.*"], OUTSIDE | LIGHTNING | {"lit_privq.study", "lit_privq.report"}),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)  # fmt: skip
def test_a_package_alone_in_an_interpreter_loads_nothing_from_outside(names: list[str], forbidden: set[str]) -> None:
    wanted = [module for name in names for module in expanded(name)]
    code = f"import sys, importlib; [importlib.import_module(name) for name in {wanted}]; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert set(wanted) <= loaded
    assert not forbidden & loaded


def expanded(name: str) -> list[str]:
    """A package's modules, for ``package.*``."""
    package = name.removesuffix(".*")
    return [name] if package == name else [one for one in modules() if one.rpartition(".")[0] == package]


def test_every_package_names_what_is_public_and_each_name_is_that_thing_whatever_was_imported_before() -> None:
    code = f"""if True:
        import importlib, json, sys, types
        for name in {[name for name in modules() if not name.endswith("__main__")]}:
            importlib.import_module(name)
        packages = [importlib.import_module(name) for name in {[*(p.replace("/", ".") for p in PACKAGES), "callbacks"]}]
        public = {{package.__name__: getattr(package, "__all__", []) for package in packages}}
        wrong = [
            f"{{package.__name__}}.{{name}}" for package in packages for name in public[package.__name__]
            if isinstance(getattr(package, name), types.ModuleType)
        ]
        print(json.dumps([public, wrong]))
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    public, wrong = json.loads(done.stdout)
    assert wrong == []
    assert [package for package, names in public.items() if not names] == ["lit_privq.report.sections"]
    assert {"OBC", "GPTQ", "Method"} <= set(public["lit_privq.quantization"])
    assert {"CIFAR10", "ShadowDataModule"} <= set(public["lit_privq.data"])
    assert {"load", "quantize", "Classifier"} <= set(public["lit_privq"])


def test_no_two_public_classes_share_a_name() -> None:
    places: dict[str, list[str]] = {}
    for name, tree in modules().items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(name)
    assert {name: where for name, where in places.items() if len(where) > 1} == {}
