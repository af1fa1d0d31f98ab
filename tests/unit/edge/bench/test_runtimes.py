"""`edge-bench --all-runtimes`: reports of any kind in a bundle, results on any kind of stream."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from edge.bench.runtimes import bench_runtimes, published_map
from edge.bundle.opening import open_bundle
from edge.config.edge import EdgeConfig
from tests.conftest import write_bright_cell_bundle

ROW = {"precision": "f32", "runtime": "onnxruntime 1.20 CPU", "map50_95": 0.5}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_bright_cell_bundle(tmp_path_factory.mktemp("bundle") / "bundle")


@pytest.mark.parametrize(
    ("models", "expected"),
    [
        ([ROW], 0.5),
        ([{**ROW, "precision": "int8"}, ROW], 0.5),
        ([{**ROW, "map50_95": None}], None),
        ([{**ROW, "map50_95": "much"}], None),
        ([{}], None),
        ([3, "x", None], None),
        (3, None),
        ({"a": 1}, None),
        (None, None),
    ],
)
def test_what_a_bundle_says_of_a_runtime_whatever_its_report_holds(path, models, expected):
    bundle = open_bundle(path)
    manifest = bundle.manifest.model_copy(update={"parity": {"models": models}})
    odd = type(bundle)(bundle.path, bundle.model_path, manifest)
    assert published_map(odd, "onnxruntime", "f32") == expected


def test_the_result_goes_to_a_stream(path):
    reading, writing = os.pipe()
    config = EdgeConfig(model=path, camera="loom:width_px=320,lines_per_block=48", threads=1)
    with os.fdopen(reading) as stream:
        result = bench_runtimes(
            config, None, frames=1, rounds=1, json_file=Path(f"/proc/self/fd/{writing}")
        )
        os.close(writing)
        assert json.load(stream) == json.loads(json.dumps(result))
    assert result["rows"][0]["backend"] == "onnxruntime"
