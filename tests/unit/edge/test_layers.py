"""Imports run one way, and the edge stands without the workbench."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[3]
BASE_MODULES = {
    "numpy",
    "cv2",
    "pydantic",
    "typer",
    "rich",
    "typing_extensions",
    "tomli",
    "onnxruntime",
}
EDGE_FILES = sorted((ROOT / "edge").rglob("*.py"))


def imported_modules(path: Path) -> set[str]:
    """Return the top-level modules a file imports anywhere, also inside functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("path", EDGE_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_edge_imports_only_itself_and_the_base_packages(path):
    foreign = imported_modules(path) - BASE_MODULES - {"edge"} - sys.stdlib_module_names
    assert foreign == set()


def test_the_base_packages_are_those_of_the_project_file():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {line.split(">")[0].replace("-", "_") for line in project["dependencies"]}
    module_of = {"opencv_python": "cv2", "onnxruntime_gpu": "onnxruntime"}
    assert {module_of.get(name, name) for name in names} == BASE_MODULES


def test_every_module_of_edge_imports_with_the_workbench_hidden():
    """Import all of edge in a process that cannot see torch and its like."""
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in EDGE_FILES
    ]
    hidden = [
        "torch",
        "torchvision",
        "ultralytics",
        "torch_pruning",
        "transformers",
        "peft",
        "onnx",
        "psutil",
        "yaml",
    ]
    program = (
        "import sys, importlib\n"
        f"sys.modules.update(dict.fromkeys({hidden!r}))\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        "assert not [m for m in sys.modules if m.split('.')[0] in ('distill', 'export')]\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)


def test_export_enters_distill_through_the_checkpoint_alone():
    entered = set()
    for path in (ROOT / "export").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "distill":
                entered.add(node.module)
    assert entered <= {"distill.checkpoint"}
