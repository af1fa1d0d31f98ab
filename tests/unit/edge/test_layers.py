"""Imports run one way, and the edge stands without the workbench."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from edge.backends.registry import BACKENDS
from edge.cameras.registry import CAMERAS

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
    "simplejpeg",
    "threadpoolctl",
    "PIL",
    "anyascii",
}


def file_of(module: str) -> str:
    return f"{module.replace('.', '/')}.py"


OPTIONAL_OF_FILE = {
    **{file_of(kind.module): {kind.package} for kind in BACKENDS.values()},
    **{file_of(kind.module): {kind.package} for kind in CAMERAS.values() if kind.package},
    "edge/backends/tensorrt_cuda.py": {"pycuda", "cuda"},
    "edge/bundle/ed25519.py": {"cryptography"},
    "edge/fleet/collecting.py": {"psycopg"},
    "edge/fleet/database.py": {"psycopg"},
    "edge/fleet/ingest.py": {"psycopg"},
    "edge/fleet/judging.py": {"psycopg"},
    "edge/fleet/metrics.py": {"prometheus_client"},
    "edge/fleet/migrate.py": {"alembic", "sqlalchemy"},
    "edge/fleet/migrations/env.py": {"alembic"},
    "edge/fleet/migrations/versions/r0001_records.py": {"alembic"},
    "edge/fleet/migrations/versions/r0002_daily_counts.py": {"alembic"},
    "edge/fleet/migrations/versions/r0003_candidates.py": {"alembic"},
    "edge/fleet/partitions.py": {"psycopg"},
    "edge/fleet/probes.py": {"starlette"},
    "edge/fleet/queries/__init__.py": {"psycopg"},
    "edge/fleet/reread.py": {"psycopg"},
    "edge/fleet/retention.py": {"psycopg"},
    "edge/fleet/show.py": {"psycopg"},
    "edge/fleet/subscriber.py": {"paho"},
    "edge/fleet/writing.py": {"psycopg"},
    "edge/health/metrics.py": {"prometheus_client"},
    "edge/machine/modbus.py": {"pymodbus"},
    "edge/machine/replies.py": {"pymodbus"},
    "edge/mqtt/connection.py": {"paho"},
    "edge/opcua/certificate.py": {"cryptography"},
    "edge/opcua/check.py": {"asyncua"},
    "edge/opcua/connection.py": {"asyncua"},
    "edge/opcua/nodes.py": {"asyncua"},
    "edge/opcua/rights.py": {"asyncua"},
    "edge/opcua/server.py": {"asyncua"},
    "edge/opcua/sessions.py": {"asyncua"},
    "edge/opcua/vision_system.py": {"asyncua"},
    "edge/page/api.py": {"starlette"},
    "edge/page/app.py": {"anyio", "starlette"},
    "edge/page/device.py": {"anyio", "starlette"},
    "edge/page/sheet.py": {"starlette"},
    "edge/web/body.py": {"starlette"},
    "edge/web/connection.py": {"uvicorn"},
    "edge/web/door.py": {"starlette"},
    "edge/web/permitted.py": {"starlette"},
    "edge/web/responses.py": {"starlette"},
    "edge/web/serving.py": {"starlette", "uvicorn"},
}
"""Packages of extras, and the only files that may import them."""
OPTIONAL_AT_THE_TOP = {
    *(file_of(kind.module) for kind in BACKENDS.values()),
    "edge/backends/tensorrt_cuda.py",
    "edge/bundle/ed25519.py",
    *(name for name in OPTIONAL_OF_FILE if name.startswith("edge/fleet/")),
    "edge/fleet/canaries.py",
    "edge/fleet/dashboards.py",
    "edge/fleet/looms.py",
    "edge/fleet/running.py",
    "edge/health/metrics.py",
    "edge/machine/modbus.py",
    "edge/machine/replies.py",
    "edge/mqtt/check.py",
    "edge/mqtt/connection.py",
    "edge/mqtt/publisher.py",
    "edge/opcua/certificate.py",
    "edge/opcua/check.py",
    "edge/opcua/connection.py",
    "edge/opcua/nodes.py",
    "edge/opcua/rights.py",
    "edge/opcua/server.py",
    "edge/opcua/sessions.py",
    "edge/opcua/vision_system.py",
    "edge/page/api.py",
    "edge/mqtt/receipts.py",
    "edge/page/app.py",
    "edge/page/device.py",
    "edge/page/sheet.py",
    "edge/page/server.py",
    "edge/web/body.py",
    "edge/web/connection.py",
    "edge/web/door.py",
    "edge/web/permitted.py",
    "edge/web/responses.py",
    "edge/web/serving.py",
}
"""Those of them that are imported only where their package is."""
EDGE_FILES = sorted((ROOT / "edge").rglob("*.py"))


def imports_of(source: str) -> set[str]:
    """Return the dotted names that a source file imports anywhere, also inside functions."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add("." * node.level + (node.module or ""))
    return names


def imports_below(*folders: str) -> dict[str, set[str]]:
    """Return the imports of every module of these packages, by its path in the project."""
    paths = sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return {str(path.relative_to(ROOT)): imports_of(path.read_text(encoding="utf-8")) for path in paths}


def of_package(names: set[str], package: str) -> set[str]:
    """Keep the names that are a package or lie within it."""
    return {name for name in names if f"{name}.".startswith(f"{package}.")}


@pytest.mark.parametrize(
    "source",
    [
        "import distill.training.train",
        "import os, distill.training.train as t",
        "from distill.training.train import train",
        "def f():\n    import distill.training.train",
        "if True:\n    from distill.training.train import train as t",
    ],
)
def test_no_form_of_import_escapes_the_guards(source):
    assert of_package(imports_of(source), "distill") == {"distill.training.train"}


@pytest.mark.parametrize("path", EDGE_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_edge_imports_only_itself_and_the_base_packages(path):
    roots = {name.split(".")[0] for name in imports_of(path.read_text(encoding="utf-8"))}
    roots -= OPTIONAL_OF_FILE.get(path.relative_to(ROOT).as_posix(), set())
    assert roots - BASE_MODULES - {"edge"} - sys.stdlib_module_names == set()


def strings_in(source: str) -> set[str]:
    """Return the strings of a source file, without its docstrings."""
    tree = ast.parse(source)
    prose = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    constants = {node for node in ast.walk(tree) if isinstance(node, ast.Constant)} - prose
    return {node.value for node in constants if isinstance(node.value, str)}


@pytest.mark.parametrize("path", EDGE_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_edge_names_no_module_of_the_workbench_in_a_string(path):
    modules = re.compile(r"\b(distill|export)\.(?!toml)[a-z_]+")
    assert not [text for text in strings_in(path.read_text(encoding="utf-8")) if modules.search(text)]


def test_the_root_of_edge_has_rooms_alone():
    assert [path.name for path in (ROOT / "edge").glob("*.py")] == ["__init__.py"]


def test_the_base_packages_are_those_of_the_project_file():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {line.split(">")[0].replace("-", "_") for line in project["dependencies"]}
    module_of = {"opencv_python": "cv2", "onnxruntime_gpu": "onnxruntime", "pillow": "PIL"}
    assert {module_of.get(name, name) for name in names} == BASE_MODULES


def test_every_module_of_edge_imports_with_the_workbench_hidden():
    """Import all of edge in a process that cannot see torch and its like; of the backends, the base one."""
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in EDGE_FILES
        if path.relative_to(ROOT).as_posix() not in OPTIONAL_AT_THE_TOP
    ]
    hidden = [
        *(set().union(*OPTIONAL_OF_FILE.values()) - BASE_MODULES),
        "torch",
        "torchvision",
        "ultralytics",
        "torch_pruning",
        "transformers",
        "peft",
        "onnx",
        "tensorrt",
        "tensorrt_rtx",
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
    entered = {file: of_package(names, "distill") for file, names in imports_below("export").items()}
    assert set().union(*entered.values()) == {"distill.checkpoint"}, entered


def test_ultralytics_is_imported_by_its_door_alone():
    importing = {
        file
        for file, names in imports_below("edge", "distill", "export").items()
        if of_package(names, "ultralytics")
    }
    assert importing == {"distill/ultralytics_door.py"}


def test_distill_does_not_import_export():
    assert not any(of_package(names, "export") for names in imports_below("distill").values())
