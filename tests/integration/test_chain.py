"""From simulated cloth to a bundle that a device accepts, with the commands a person would type."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge.backends.onnxruntime import OnnxRuntimeBackend
from edge.bundle.opening import open_bundle
from edge.dataset.options import DatasetOptions
from edge.dataset.writing import write_dataset
from edge.inference.golden import check_golden

RECIPE = """
scale = "p"
input_size_hw_px = [96, 96]
overlap_px = 16
epochs = 2
batch = 8
"""


def command(module: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        capture_output=True, text=True, check=False, timeout=600, env={**os.environ, "COLUMNS": "200"},
    )  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("chain")
    options = DatasetOptions(
        images=10, size_hw=(128, 256), difficulties=("obvious",), split={"train": 0.7, "val": 0.3}
    )
    write_dataset(root / "cloth", options)
    (root / "tiny.toml").write_text(RECIPE)
    return root


@pytest.mark.slow
def test_simulated_cloth_becomes_a_bundle_that_keeps_its_promises(place):
    trained = command(
        "distill.commands.distill_cli",
        place / "cloth",
        "--recipe",
        place / "tiny.toml",
        "--out",
        place / "run",
    )
    assert trained.returncode == 0, trained.stderr
    exported = command(
        "export.cli", place / "run" / "best.pt", "--images", place / "cloth" / "images",
        "--out", place / "bundle",
    )  # fmt: skip
    assert exported.returncode == 0, exported.stderr

    bundle = open_bundle(place / "bundle")
    contract = bundle.manifest.contract
    assert contract.mm_per_px == 0.2
    with OnnxRuntimeBackend(bundle.model_path, contract) as backend:
        check_golden(bundle, backend, contract)
    rows = [json.loads(line) for line in (place / "run" / "scorecard.jsonl").read_text().splitlines()]
    stages = [row["stage"] for row in rows]
    assert stages[:2] == ["train", "export"]
    assert set(stages[2:]) <= {"export", "export bf16"}  # further runtimes of this device
    assert rows[0]["checkpoint_digest"] == rows[1]["checkpoint_digest"] == contract.source_digest
    assert rows[0]["map50"] == rows[1]["map50"]


@pytest.mark.parametrize(
    ("module", "arguments", "code"),
    [
        pytest.param("distill.commands.distill_cli", ("nowhere",), 50, id="no-data-set"),
        pytest.param("export.cli", ("no.pt", "--images", ".", "--out", "never"), 51, id="no-checkpoint"),
    ],
)
def test_a_mistake_is_one_line_on_stderr_and_its_exit_code(tmp_path, module, arguments, code):
    done = command(module, *arguments)
    assert done.returncode == code
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
