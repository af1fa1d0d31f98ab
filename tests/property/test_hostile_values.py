"""Whatever stands in options, settings, the environment, taxonomies and bundles: a documented exit code."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from edge.bundle.manifest import FORM
from edge.config.edge import TABLES
from tests.conftest import write_bright_cell_bundle
from tests.hostile.commands import outcome_of
from tests.hostile.inputs import SETTINGS, WAITING, WRITTEN
from tests.hostile.values import BINARY, arguments, mutated_json, toml_values

CHECKED_ONLY = sorted({*WRITTEN, *WAITING} - {"show"})


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    """Make an image and a bundle that all examples share."""
    folder = tmp_path_factory.mktemp("hostile")
    cv2.imwrite(str(folder / "cloth.png"), np.full((64, 64), 90, np.uint8))
    write_bright_cell_bundle(folder / "bundle")
    return folder


def run(workshop, *words, **environment):
    with tempfile.TemporaryDirectory(dir=workshop) as folder:
        outcome = outcome_of(words, Path(folder), environment)
    assert outcome.is_documented, (words, environment, outcome)
    return outcome


def run_edge(workshop, *words, **environment):
    camera = ["--camera", str(workshop / "cloth.png"), "--frames", "1", "--threads", "1"]
    model = [] if "--model" in words else ["--model", str(workshop / "bundle")]
    return run(workshop, "edge-run", *camera, *model, *words, **environment)


quickly = settings(
    max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@quickly
@given(key=st.sampled_from(SETTINGS), value=toml_values)
@example(key="threads", value="99999999999")
@example(key="frames", value="9" * 5000)
@example(key="article", value="{a = {}}")
@example(key="pictures_gb", value="1e308")
def test_any_value_of_a_setting_in_the_file(workshop, key, value):
    file = workshop / "box.toml"
    file.write_text(f"{key} = {value}\n", encoding="utf-8", errors="surrogatepass")
    run_edge(workshop, "--config", str(file))


@quickly
@given(key=st.sampled_from(CHECKED_ONLY), value=toml_values)
def test_any_value_of_a_setting_that_reaches_out_is_checked(workshop, key, value):
    """The run itself does not begin: the model does not exist."""
    file = workshop / "box.toml"
    file.write_text(f"{key} = {value}\n", encoding="utf-8", errors="surrogatepass")
    outcome = run(
        workshop, "edge-run", "--config", str(file), "--model", "nowhere", "--page", "0",
        LOOMSIGHT_EDGE_RECONNECT="false",
    )  # fmt: skip
    assert outcome.code


@quickly
@given(data=st.sampled_from(BINARY) | st.binary(max_size=200))
def test_any_bytes_in_the_file(workshop, data):
    file = workshop / "box.toml"
    file.write_bytes(data)
    run_edge(workshop, "--config", str(file))


@quickly
@given(key=st.sampled_from([*SETTINGS, *TABLES]), value=arguments)
def test_any_value_in_the_environment(workshop, key, value):
    if key in ("stop", "machine", "mqtt"):
        value = f"{value}x" if value in ("on", "shadow") else value
    run_edge(workshop, **{f"LOOMSIGHT_EDGE_{key.upper()}": value})


OPTIONS = (
    ("edge-run", "--camera", "CAMERA", "--frames", "1", "--seconds", "2", "--threads"),
    ("edge-run", "--camera", "CAMERA", "--frames"),
    ("edge-run", "--seconds", "1", "--frames", "1", "--threads", "1", "--camera"),
    ("edge-run", "--camera", "CAMERA", "--model"),
    ("edge-run", "--camera", "CAMERA", "--mm-per-px"),
    ("edge-run", "--camera", "CAMERA", "--config"),
    ("bundle", "verify"),
    ("bundle", "show"),
    ("bundle", "verify", "BUNDLE", "--max-p99-ms"),
    ("bundle", "rollback"),
    ("simulate", "--out", "new", "--images", "1", "--seed"),
    ("simulate", "--images", "1", "--size-hw", "128", "128", "--taxonomy", "nowhere", "--out"),
    ("labels", "check"),
    ("scorecard",),
    ("anchors",),
    ("prune", "plan"),
    ("export", "--checkpoint"),
    ("distill", "DATA", "--recipe"),
    ("distill", "DATA", "--epochs"),
    ("simulate", "--out", "new", "--images"),
    ("simulate", "--out", "new", "--images", "1", "--split"),
    ("simulate", "--out", "new", "--images", "1", "--mm-per-px"),
    ("simulate", "--out", "new", "--images", "1", "--taxonomy"),
    ("roll", "list"),
    ("roll", "show"),
    ("stop", "check", "--config"),
    ("mqtt", "check", "--config"),
    ("service", "print", "--config"),
    ("service", "print", "--user"),
    ("edge-doctor", "--precision"),
    ("edge-bench", "--frames", "1", "--rounds", "1", "--model"),
)


@quickly
@given(words=st.sampled_from(OPTIONS), value=arguments)
def test_any_word_on_the_command_line(workshop, words, value):
    if words[0] == "simulate" and words[-1] == "--images" and value.isdecimal() and int(value[:9] or 0) > 2:
        return  # as many images as that are no fault
    named = {"DATA": "nowhere", "CAMERA": str(workshop / "cloth.png"), "BUNDLE": str(workshop / "bundle")}
    given = [*(named.get(word, word) for word in words), value]
    run(workshop, *given, LOOMSIGHT_EDGE_RECONNECT="false")  # the word may name a live camera


@quickly
@given(text=st.data())
def test_any_manifest_under_a_seal_that_holds(workshop, text):
    with tempfile.TemporaryDirectory(dir=workshop) as folder:
        bundle = Path(folder) / "b"
        shutil.copytree(workshop / "bundle", bundle)
        document = json.loads((bundle / "bundle.json").read_text())
        document["golden"] = [
            {
                "file": "model.onnx",
                "detections": [{"label": "drop", "score": 0.9, "box_xyxy_px": [0, 0, 8, 8]}],
            }
        ]
        document["parity"] = {"models": [{"precision": "f32", "latency": {"p50_ms": 1}}], "boxes_px": 0.1}
        document["layers"] = [{"name": "a", "macs": 10, "parameters": 3}]
        (bundle / "bundle.json").write_text(text.draw(mutated_json(document)))
        (bundle / "bundle.json.sha256").write_bytes(FORM.seal_of(bundle))
        for words in (("bundle", "show", str(bundle)), ("bundle", "show", "--json", str(bundle))):
            run(workshop, *words)
        run_edge(workshop, "--model", str(bundle))


@quickly
@given(key=st.sampled_from(["version", "classes", "kinds", "other"]), value=toml_values)
def test_any_taxonomy(workshop, key, value):
    file = workshop / "taxonomy.toml"
    lines = {"version": "1", "classes": '["a"]', key: value}
    file.write_text("".join(f"{name} = {text}\n" for name, text in lines.items()), encoding="utf-8")
    run(workshop, "simulate", "--out", "new", "--images", "1", "--workers", "1", "--taxonomy", str(file))
