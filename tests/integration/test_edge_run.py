"""The whole loop, with a real model in ONNX Runtime on real files: only the cloth is made up."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

from edge.app.run import run
from edge.config.edge import EdgeConfig
from edge.core.contract import CONTRACT_VERSION
from edge.core.errors import ConfigError, ImageError, LoomsightError, ModelError, OutputError
from tests.conftest import bright_cell_contract, write_bright_cell_bundle, write_bright_cell_model
from tests.hostile.commands import outcome_of
from tests.processes import loomsight, program


def spot(path, *boxes, size=(100, 200)):
    """Write a dark image with bright boxes (x1, y1, x2, y2)."""
    image = np.full(size, 20, np.uint8)  # a black one is an empty belt
    for x1, y1, x2, y2 in boxes:
        image[y1:y2, x1:x2] = 255
    assert cv2.imwrite(str(path), image)


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    spot(folder / "a.png", (16, 16, 32, 32))
    spot(folder / "b.png", size=(64, 64))
    spot(folder / "c.png", (136, 36, 144, 60), size=(100, 400))
    return folder


def test_a_folder_is_inspected_whole(tmp_path, bundle, images):
    out = tmp_path / "out.jsonl"
    summary = run(
        EdgeConfig(
            camera=str(images), model=bundle, detections=out, save_pictures=tmp_path / "p", mm_per_px=0.5
        )
    )
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["source"] for line in lines] == ["a.png", "b.png", "c.png"]
    (found,) = [d for d in lines[0]["detections"] if d["box_xyxy_px"][:2] == [16.0, 16.0]]
    assert found["label"] == "broken"
    assert lines[1]["detections"] == []
    assert summary["frames"] == 3
    assert summary["coverage"] == 1
    assert summary["metres_inspected"] == pytest.approx(0.132)
    assert set(summary["latency_ms"]) == {"p50", "p95", "p99", "max"}
    assert {"capture", "preprocess", "infer", "decode", "merge", "write"} <= set(summary["stages_ms"])
    assert len(list((tmp_path / "p").glob("*.png"))) == 2
    assert json.loads((tmp_path / "out.jsonl.config.json").read_text())["model"] == str(bundle)


def test_a_defect_across_tiles_is_one_detection(tmp_path, images):
    """c.png is four tiles wide; its bright cell lies where two of them overlap."""
    bundle = write_bright_cell_bundle(tmp_path / "b2", geometry={"kind": "tiles", "overlap_px": 24})
    out = tmp_path / "out.jsonl"
    run(EdgeConfig(camera=str(images / "c.png"), model=bundle, detections=out))
    boxes = np.array([d["box_xyxy_px"] for d in json.loads(out.read_text())["detections"]])
    assert boxes[:, 0].min() >= 128
    assert boxes[:, 2].max() <= 152


def test_an_unreadable_image_is_named_and_the_others_inspected(tmp_path, bundle, images):
    (images / "aa.png").write_bytes((images / "a.png").read_bytes()[:-30])
    out, summary = tmp_path / "out.jsonl", tmp_path / "summary.json"
    with pytest.raises(ImageError, match="1 of 4 images"):
        run(EdgeConfig(camera=str(images), model=bundle, detections=out, summary=summary))
    assert len(out.read_text().splitlines()) == 3
    assert json.loads(summary.read_text())["unreadable"] == 1
    assert json.loads(summary.read_text())["coverage"] == 0.75


def test_a_folder_without_any_readable_image_does_not_speak_of_others(tmp_path, bundle):
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "a.png").write_bytes(b"no image")
    with pytest.raises(ImageError) as caught:
        run(EdgeConfig(camera=str(folder), model=bundle))
    assert caught.value.problem == f"No image of {folder} could be read."


def test_limits(bundle):
    loom = "loom:seed=1,width_px=256,lines_per_block=64"
    assert run(EdgeConfig(camera=loom, model=bundle, frames=7))["frames"] == 7
    assert run(EdgeConfig(camera=loom, model=bundle, metres=0.1))["metres_inspected"] == pytest.approx(
        0.1056  # in strips of 48 lines
    )
    begin_s = time.monotonic()
    run(EdgeConfig(camera=loom, model=bundle, seconds=0.5))
    assert time.monotonic() - begin_s < 10


def test_metres_need_a_position(bundle, images):
    with pytest.raises(ConfigError, match="--mm-per-px"):
        run(EdgeConfig(camera=str(images), model=bundle, metres=1))


def test_a_live_camera_that_is_too_fast_leaves_a_gap(bundle):
    loom = "loom:seed=1,width_px=4096,lines_per_block=64,speed_m_min=600,live=true"
    summary = run(EdgeConfig(camera=loom, model=bundle, seconds=2, queue_frames=1, threads=1))
    assert summary["dropped"] > 0
    assert summary["gap_m"] > 0
    lines = summary["lines"]
    assert lines["overrun"] == summary["dropped"] * 64
    assert lines["passed"] == lines["inspected"] + lines["overrun"]
    assert sum(gap["end_m"] - gap["start_m"] for gap in summary["gaps"]) == pytest.approx(summary["gap_m"])
    assert {gap["reason"] for gap in summary["gaps"]} == {"overrun"}
    assert summary["coverage"] < 1
    assert summary["age_ms"]["p50"] > 0


def test_the_ground_truth_is_compared_where_the_camera_knows_it(bundle):
    summary = run(EdgeConfig(camera="loom:seed=1,width_px=512,length_m=3,defects_per_m=3", model=bundle))
    assert summary["planted"] == summary["found"] + summary["missed"] > 0
    assert set(summary["by_difficulty"]) == {"obvious", "clear", "subtle", "barely visible"}


def test_thresholds_from_the_configuration(tmp_path, bundle, images):
    out = tmp_path / "out.jsonl"
    config = EdgeConfig(camera=str(images / "a.png"), model=bundle, detections=out)
    with pytest.raises(ConfigError, match="brokn"):
        run(config.model_copy(update={"score_thresholds": {"brokn": 0.1}}))
    cv2.imwrite(str(images / "a.png"), np.full((64, 64), 100, np.uint8))
    run(config)
    assert json.loads(out.read_text())["detections"] == []
    run(config.model_copy(update={"score_thresholds": {"broken": 0.3}}))
    assert len(json.loads(out.read_text())["detections"]) == 64


def wrong_class_count(folder):
    return write_bright_cell_model(folder / "m.onnx", bright_cell_contract(), classes=2)


def no_contract(folder):
    return write_bright_cell_model(folder / "m.onnx", bright_cell_contract(), with_contract=False)


def not_onnx(folder):
    (folder / "m.onnx").write_text("<html>404</html>")
    return folder / "m.onnx"


def truncated(folder):
    path = write_bright_cell_model(folder / "m.onnx", bright_cell_contract())
    path.write_bytes(path.read_bytes()[:300])
    return path


def newer_contract(folder):
    path = write_bright_cell_model(folder / "m.onnx", bright_cell_contract())
    model = onnx.load(str(path))
    model.metadata_props[0].value = model.metadata_props[0].value.replace(
        f'"contract_version":{CONTRACT_VERSION}', '"contract_version":99'
    )
    onnx.save(model, str(path))
    return path


def changed_bundle(folder):
    bundle = write_bright_cell_bundle(folder / "bundle")
    with (bundle / "model.onnx").open("r+b") as stream:
        stream.seek(100)
        stream.write(b"\xff")
    return bundle


@pytest.mark.parametrize("backend", ["openvino", "auto"])
def test_every_backend_finds_the_same(tmp_path, bundle, images, monkeypatch, backend):
    pytest.importorskip("openvino")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    found = {}
    for name in ("onnxruntime", backend):
        out = tmp_path / f"{name}.jsonl"
        config = EdgeConfig(
            camera=str(images), model=bundle, detections=out, backend=name, precision="f32", threads=1
        )
        ran_on = run(config)["backend"]
        found[name] = [json.loads(line)["detections"] for line in out.read_text().splitlines()]
    for ours, theirs in zip(found["onnxruntime"], found[backend], strict=True):
        assert [one | {"score": pytest.approx(one["score"], abs=1e-3)} for one in ours] == theirs
    assert any(found[backend])
    assert backend == "auto" or "openvino" in str(ran_on)
    assert (tmp_path / "cache").exists() == (backend == "auto")


def bundle_without_manifest(folder):
    bundle = write_bright_cell_bundle(folder / "bundle")
    (bundle / "bundle.json").unlink()
    return bundle


def bundle_with_another_contract(folder):
    bundle = write_bright_cell_bundle(folder / "bundle")
    manifest = bundle / "bundle.json"
    manifest.write_text(manifest.read_text().replace('"iou_threshold": 0.5', '"iou_threshold": 0.4'))
    (bundle / "bundle.json.sha256").unlink()
    return bundle


def missing(folder):
    return folder / "nothing"


@pytest.mark.parametrize(
    ("make", "code", "said"),
    [
        (missing, 30, "There is no model"),
        (not_onnx, 30, "cannot be read as an ONNX model"),
        (truncated, 30, "cannot be read as an ONNX model"),
        (changed_bundle, 30, "was changed after"),
        (bundle_without_manifest, 30, "bundle.json"),
        (no_contract, 31, "carries no loomsight contract"),
        (wrong_class_count, 31, "ends in [2]; its contract says [3]"),
        (newer_contract, 31, "version 99"),
        (bundle_with_another_contract, 31, "not the one of its bundle"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_model_nobody_can_vouch_for(tmp_path, images, make, code, said):
    with pytest.raises(LoomsightError) as caught:
        run(EdgeConfig(camera=str(images), model=make(tmp_path), detections=tmp_path / "out.jsonl"))
    assert caught.value.exit_code == code
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out.jsonl").exists()


def test_a_golden_image_that_comes_out_differently(tmp_path, bundle):
    manifest = json.loads((bundle / "bundle.json").read_text())
    (bundle / "bundle.json.sha256").unlink()
    (bundle / "golden").mkdir()
    spot(bundle / "golden" / "0.png", (16, 16, 24, 24), size=(64, 64))
    from edge.core.files import file_digest

    right = {"label": "broken", "score": 1.0, "box_xyxy_px": [16.0, 16.0, 24.0, 24.0]}
    manifest["files"]["golden/0.png"] = file_digest(bundle / "golden" / "0.png")
    for box, fits in [(right["box_xyxy_px"], True), ([40.0, 40.0, 48.0, 48.0], False)]:
        manifest["golden"] = [{"file": "golden/0.png", "detections": [{**right, "box_xyxy_px": box}]}]
        (bundle / "bundle.json").write_text(json.dumps(manifest))
        config = EdgeConfig(camera="loom:width_px=256", model=bundle, frames=1)
        if fits:
            run(config)
        else:
            with pytest.raises(ModelError, match=r"golden/0\.png"):
                run(config)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--camera", "no/such/camera"], 20, "no/such/camera"),
        (["--camera", "99"], 20, "Cannot open the camera 99"),
        (["--camera", "loom:sead=1"], 10, "sead"),
        (["--camera", "empty"], 23, "holds no images"),
        (["--camera", "empty.mp4"], 20, "empty.mp4"),
        (["--camera", "images", "--frames", "0"], 10, "frames"),
        (["--camera", "images", "--config", "missing.toml"], 10, "missing.toml"),
        (["--camera", "images", "--detections", "images/a.png/x.jsonl"], 40, "x.jsonl"),
        (["--camera", "images", "--summary", "images/a.png/x.json"], 40, "a.png"),
        (["--camera", "images", "--show"], 40, "no screen"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_line_and_an_exit_code(
    tmp_path, bundle, images, monkeypatch, arguments, code, said
):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.mp4").touch()
    done = outcome_of(["edge-run", "--model", str(bundle), *arguments], tmp_path)
    assert done.code == code
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert said in line
    assert "Traceback" not in done.stderr


def test_a_box_without_libgl(tmp_path):
    """A stand-in for cv2 fails as the real one does on a bare Debian."""
    (tmp_path / "cv2.py").write_text("raise ImportError('libGL.so.1: cannot open shared object file')")
    stands_in = {"PYTHONPATH": f"{tmp_path}:{Path.cwd()}"}
    done = loomsight("edge-run", "--camera", "loom", "--frames", 1, env=stands_in)
    assert done.returncode == 11
    assert "apt-get install libgl1" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_cleanly(tmp_path, bundle, number):
    out, summary = tmp_path / "out.jsonl", tmp_path / "summary.json"
    arguments = [
        "--camera",
        "loom:width_px=256",
        "--model",
        bundle,
        "--detections",
        out,
        "--summary",
        summary,
    ]
    process = subprocess.Popen(
        program("edge-run", *arguments), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    deadline_s = time.monotonic() + 30
    while not (out.exists() and out.stat().st_size) and time.monotonic() < deadline_s:
        time.sleep(0.05)
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    result = json.loads(summary.read_text())
    assert result["stopped_on_request"]
    assert len(out.read_text().splitlines()) == result["frames"] > 0


FULL_AT = "import resource as r, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
FULL_AT += "r.setrlimit(r.RLIMIT_FSIZE, ({}, r.RLIM_INFINITY)); "


def run_until_the_disk_is_full(tmp_path, bundle, at_bytes, *arguments):
    outputs = ["--detections", tmp_path / "out.jsonl", "--summary", tmp_path / "summary.json"]
    given = ["--camera", "loom:width_px=256", "--model", bundle, *outputs, *arguments]
    done = subprocess.run(
        program("edge-run", *given, before=FULL_AT.format(at_bytes)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == OutputError.exit_code, done.stderr
    return done


def test_a_full_disk_ends_the_run_and_keeps_what_was_recorded(tmp_path, bundle):
    done = run_until_the_disk_is_full(tmp_path, bundle, 8192)
    assert "Cannot write" in done.stderr
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [line["frame_id"] for line in lines] == list(range(len(lines)))
    assert json.loads((tmp_path / "summary.json").read_text())["error"].startswith("Cannot write")


def test_a_summary_that_cannot_be_written_is_printed_and_hides_no_error(tmp_path, bundle):
    done = run_until_the_disk_is_full(tmp_path, bundle, 1024)
    assert "capacity" in done.stdout
    assert re.search(r"^ERROR edge.app.run: Cannot write .*summary.json", done.stderr, re.MULTILINE)
    (last,) = re.findall(r"^error: .*", done.stderr, re.MULTILINE)
    assert "out.jsonl" in last
    assert not (tmp_path / "summary.json").exists()


def test_a_summary_that_cannot_be_written_is_the_error_of_a_run_without_one(tmp_path, bundle):
    done = run_until_the_disk_is_full(tmp_path, bundle, 1024, "--frames", 1)
    assert "capacity" in done.stdout
    assert re.search(r"^error: Cannot write .*summary.json", done.stderr, re.MULTILINE)


def test_a_disk_that_is_really_full(tmp_path, bundle):
    """On a file system of 64 KiB, mounted where only this child process sees it."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = ["unshare", "--mount", "sh", "-c", f'mount -t tmpfs -o size=64k none "{disk}" && "$@"', "sh"]
    if shutil.which("unshare") is None or subprocess.run([*mounted, "true"], check=False).returncode:
        pytest.skip("no file system can be mounted here")
    outputs = ["--detections", disk / "out.jsonl", "--summary", disk / "summary.json"]
    done = subprocess.run(
        [*mounted, *program("edge-run", "--camera", "loom:width_px=256", "--model", bundle, *outputs)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == OutputError.exit_code, done.stderr
    assert "capacity" in done.stdout
    (last,) = re.findall(r"^error: .*", done.stderr, re.MULTILINE)
    assert last.startswith(f"error: Cannot write {disk}/out.jsonl: No space left on device.")
    assert f"ERROR edge.app.run: Cannot write {disk}/summary.json: No space left" in done.stderr


def test_a_reader_that_goes_away_costs_no_summary(tmp_path, bundle, images):
    summary = tmp_path / "summary.json"
    gone = "import os, sys; r, w = os.pipe(); os.close(r); os.dup2(w, 1); "
    arguments = ["--camera", images, "--model", bundle, "--summary", summary]
    done = subprocess.run(
        program("edge-run", *arguments, before=gone),
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert json.loads(summary.read_text())["frames"] == 3
