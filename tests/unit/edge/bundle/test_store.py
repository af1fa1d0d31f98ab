"""Bundles that are refused, installed, switched and rolled back."""

from __future__ import annotations

import fcntl
import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from edge.app.run import run
from edge.bundle.install import install, roll_back
from edge.bundle.layers import bar, write_image
from edge.bundle.manifest import FORM, MANIFEST_NAME, BundleManifest, GoldenImage
from edge.bundle.opening import open_bundle
from edge.bundle.publish import publish_bundle, staging_folder
from edge.bundle.store import bundle_path, is_store, read_state
from edge.commands.bundle_cli import app
from edge.commands.bundle_report import bundle_facts, flat
from edge.config.edge import EdgeConfig
from edge.core.errors import BackendError, ContractError, LoomsightError, ModelError, OutputError
from edge.core.files import file_digest
from tests.conftest import bright_cell_contract, write_bright_cell_bundle, write_bright_cell_model

FLIPS = 200
PROGRAM = Path(__file__).with_name("power_loss.py")


def passed(bundle):
    """Check nothing more of a bundle."""


def golden_bundle(folder, found=True, **changes):
    """Publish the bright-cell model with a golden image on which there is something, or should be."""
    contract = bright_cell_contract(**changes)
    image = np.zeros((64, 64), np.uint8)
    if found:
        image[16:24, 16:24] = 255
    expected = {"label": "broken", "score": 1.0, "box_xyxy_px": [16.0, 16.0, 24.0, 24.0]}
    with staging_folder(folder) as staged:
        write_bright_cell_model(staged / "model.onnx", contract)
        (staged / "golden").mkdir()
        assert cv2.imwrite(str(staged / "golden" / "0.png"), image)
        files = {name: file_digest(staged / name) for name in ("model.onnx", "golden/0.png")}
        golden = (GoldenImage(file="golden/0.png", detections=(expected,)),)
        publish_bundle(
            staged,
            folder,
            BundleManifest(contract=contract, files=files, golden=golden, parity={"tiles": 4}),
        )
    return folder


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    return golden_bundle(tmp_path_factory.mktemp("old") / "bundle")


@pytest.fixture(scope="module")
def new(tmp_path_factory):
    return golden_bundle(tmp_path_factory.mktemp("new") / "bundle", iou_threshold=0.4)


@pytest.fixture
def store(tmp_path):
    return tmp_path / "store"


def files_of(bundle):
    return sorted(path for path in bundle.rglob("*") if path.is_file())


def flip(path, rng):
    data = bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


def test_any_flipped_bit_is_refused(tmp_path, old):
    bundle = shutil.copytree(old, tmp_path / "bundle")
    files, rng = files_of(bundle), random.Random(20261121)
    assert [path.name for path in files] == [MANIFEST_NAME, FORM.seal_name, "0.png", "model.onnx"]
    for number in range(FLIPS):
        path = files[number % len(files)]
        whole = path.read_bytes()
        flip(path, rng)
        with pytest.raises((ModelError, ContractError)) as caught:
            open_bundle(bundle)
        assert "\n" not in str(caught.value)
        path.write_bytes(whole)
    open_bundle(bundle)


@pytest.mark.parametrize("name", [MANIFEST_NAME, "golden/0.png", "model.onnx"])
def test_a_missing_or_cut_file_is_refused(tmp_path, old, name):
    bundle = shutil.copytree(old, tmp_path / "bundle")
    (bundle / name).write_bytes((bundle / name).read_bytes()[:-1])
    with pytest.raises((ModelError, ContractError)):
        open_bundle(bundle)
    (bundle / name).unlink()
    with pytest.raises(ModelError):
        open_bundle(bundle)


@pytest.mark.parametrize("name", ["bundle.json", "bundle.json.sha256", "model.onnx"])
def test_a_pipe_in_place_of_a_file_is_refused_without_waiting_for_a_writer(tmp_path, old, name):
    copy = Path(shutil.copytree(old, tmp_path / "bundle"))
    (copy / name).unlink()
    os.mkfifo(copy / name)
    with pytest.raises(ModelError, match=r"pipe|lacks"):
        open_bundle(copy)


def test_a_bundle_of_a_time_before_seals_is_opened(tmp_path, old):
    bundle = shutil.copytree(old, tmp_path / "bundle")
    (bundle / FORM.seal_name).unlink()
    assert open_bundle(bundle).manifest is not None


def test_the_seal_is_what_sha256sum_writes(old):
    assert (old / FORM.seal_name).read_text() == f"{file_digest(old / MANIFEST_NAME)}  {MANIFEST_NAME}\n"


@pytest.mark.parametrize("name", ["../model.onnx", "/etc/hostname", "golden/../../x"])
def test_a_bundle_that_names_files_outside_is_refused(tmp_path, contract, name):
    with staging_folder(tmp_path / "b") as staged:
        publish_bundle(staged, tmp_path / "b", BundleManifest(contract=contract, files={name: "0" * 64}))
    with pytest.raises(ModelError, match="outside"):
        open_bundle(tmp_path / "b")


def test_install_switch_and_roll_back(store, old, new):
    first = install(old, store, passed)
    assert (first.previous, is_store(store)) == (None, True)
    second = install(new, store, passed)
    assert second.previous == first.current
    assert open_bundle(bundle_path(store)).manifest.contract.iou_threshold == 0.4
    back = roll_back(store, passed)
    assert (back.current, back.previous) == (first.current, second.current)
    assert open_bundle(bundle_path(store)).manifest.contract.iou_threshold == 0.5
    assert roll_back(store, passed) == second
    for source, state in ((old, first), (new, second)):
        copy = store / "bundles" / state.current
        assert [f.read_bytes() for f in files_of(copy)] == [f.read_bytes() for f in files_of(source)]


def test_installing_the_current_one_again_changes_nothing(store, old, new):
    install(old, store, passed)
    state = install(new, store, passed)
    before = (store / "store.json").stat().st_mtime_ns
    assert install(new, store, passed) == state
    assert install(store, store, passed) == state
    assert (store / "store.json").stat().st_mtime_ns == before


def test_only_what_is_vouched_for_is_copied(tmp_path, store, old):
    source = shutil.copytree(old, tmp_path / "bundle")
    (source / "notes.txt").write_text("mine")
    install(source, store, passed)
    assert not (bundle_path(store) / "notes.txt").exists()


@pytest.mark.parametrize("name", [MANIFEST_NAME, FORM.seal_name, "golden/0.png", "model.onnx"])
def test_a_damaged_source_is_refused_and_the_running_one_stays(tmp_path, store, old, new, name):
    state = install(old, store, passed)
    source = shutil.copytree(new, tmp_path / "bundle")
    flip(source / name, random.Random(1))
    with pytest.raises((ModelError, ContractError)):
        install(source, store, passed)
    assert read_state(store) == state
    assert [path.name for path in (store / "bundles").iterdir()] == [state.current]


def test_what_the_check_refuses_is_not_installed(store, old, new):
    state = install(old, store, passed)

    def refuse(bundle):
        raise ModelError("It differs.", "Use another.")

    for change in (lambda: install(new, store, refuse), lambda: roll_back(store, refuse)):
        with pytest.raises(ModelError):
            change()
    assert read_state(store) == state


def test_a_damaged_installed_bundle_is_replaced_by_a_new_copy(store, old, new):
    first = install(old, store, passed)
    flip(bundle_path(store) / "model.onnx", random.Random(2))
    again = install(old, store, passed)
    assert (again.current, again.previous) == (f"{first.current}-2", None)
    open_bundle(bundle_path(store))


def test_a_damaged_current_bundle_does_not_become_the_previous_one(store, old, new, tmp_path):
    first = install(old, store, passed)
    install(new, store, passed)
    flip(bundle_path(store) / "model.onnx", random.Random(3))
    third = golden_bundle(tmp_path / "third", iou_threshold=0.3)
    assert install(third, store, passed).previous == first.current


def test_rolling_back_to_a_damaged_bundle_is_refused(store, old, new):
    first = install(old, store, passed)
    state = install(new, store, passed)
    flip(store / "bundles" / first.current / "model.onnx", random.Random(4))
    with pytest.raises(ModelError, match="was changed"):
        roll_back(store, passed)
    assert read_state(store) == state


def test_there_must_be_something_to_roll_back_to(store, old):
    with pytest.raises(ModelError, match="is no store"):
        roll_back(store, passed)
    assert not store.exists()
    install(old, store, passed)
    with pytest.raises(ModelError, match="no bundle to go back to"):
        roll_back(store, passed)


@pytest.mark.parametrize(
    "text", ["", "{", '{"current": "../../x"}', '{"format": 2, "current": "0"}', "\xff"]
)
def test_a_damaged_pointer_is_one_clear_line(store, old, text):
    install(old, store, passed)
    (store / "store.json").write_bytes(text.encode("latin-1"))
    for use in (lambda: bundle_path(store), lambda: install(old, store, passed)):
        with pytest.raises(ModelError, match="does not say which bundle is current") as caught:
            use()
        assert "\n" not in str(caught.value)
    (store / "store.json").unlink()
    assert install(old, store, passed).current


def test_a_folder_in_use_for_something_else_is_no_store(tmp_path, old):
    (tmp_path / "notes.txt").write_text("mine")
    for place in (tmp_path, tmp_path / "notes.txt", old):
        with pytest.raises(OutputError):
            install(old, place, passed)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.txt"]


def test_a_bare_onnx_file_is_not_installed(store, old):
    with pytest.raises(ModelError, match="bare ONNX file"):
        install(old / "model.onnx", store, passed)


def test_two_installs_do_not_meet(store, old, new):
    install(old, store, passed)
    with (store / ".lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(OutputError, match="Another install"):
            install(new, store, passed)


@pytest.mark.parametrize("mode", ["kill", "fail"])
def test_a_stop_at_any_operation_leaves_one_whole_bundle(tmp_path, old, new, mode):
    done = subprocess.run(
        [sys.executable, str(PROGRAM), mode, str(old), str(new), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(PROGRAM.parents[4]), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert all(int(count) > 15 for count in done.stdout.split())


def bundle_command(*arguments):
    app([str(argument) for argument in arguments], standalone_mode=False)


def test_the_commands(store, old, new, capsys, tmp_path):
    bundle_command("verify", old)
    times, said = capsys.readouterr().out.splitlines()
    assert times.startswith("a tile takes p50 ")
    assert said == f"{old}: 2 files whole, 1 golden image as published, sealed"
    bundle_command("install", old, store)
    bundle_command("install", new, store)
    state = read_state(store)
    assert capsys.readouterr().out.endswith(f"current   {state.current}\nprevious  {state.previous}\n")
    bundle_command("rollback", store)
    assert read_state(store).current == state.previous
    bundle_command("verify", store)
    bundle_command("show", store, "--json")
    facts = json.loads(capsys.readouterr().out.partition("sealed\n")[2])
    assert facts["store"]["installed"] == sorted([state.current, state.previous])
    assert facts["contract"]["iou_threshold"] == 0.5
    bundle_command("show", store)
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("contract", "iou_threshold", "scorecard", "parity", "tiles"))


def test_verify_inspects_the_golden_images(tmp_path, store):
    bundle = golden_bundle(tmp_path / "dark", found=False)
    for arguments in (("verify", bundle), ("install", bundle, store)):
        with pytest.raises(ModelError, match="does not give on golden"):
            bundle_command(*arguments)
    assert not store.exists()


def test_edge_run_takes_a_store(store, bundle):
    state = install(bundle, store, passed)
    run(EdgeConfig(camera="loom:width_px=256", model=store, frames=1))
    flip(store / "bundles" / state.current / "model.onnx", random.Random(5))
    with pytest.raises(LoomsightError, match="was changed"):
        run(EdgeConfig(camera="loom:width_px=256", model=store, frames=1))


def test_show_of_a_bare_onnx_file(tmp_path, contract):
    facts = bundle_facts(write_bright_cell_model(tmp_path / "m.onnx", contract))
    assert facts["contract"] == contract.model_dump(mode="json")


def test_show_names_what_is_not_known(tmp_path):
    facts = bundle_facts(write_bright_cell_bundle(tmp_path / "b"))
    assert (facts["scorecard"], facts["parity"]) == (None, None)
    assert flat({"a": {"b": 0.123456, "c": [], "d": None}, "e": [1, 2.5]}) == {
        "a.b": "0.1235",
        "a.c": "none",
        "a.d": "—",
        "e": "1, 2.5",
    }


def test_verify_times_a_tile_and_refuses_what_is_too_slow(tmp_path):
    bundle = golden_bundle(tmp_path / "bundle")
    runner = CliRunner()
    done = runner.invoke(app, ["verify", str(bundle)])
    assert done.exit_code == 0
    assert "a tile takes p50" in done.output
    done = runner.invoke(app, ["verify", str(bundle), "--max-p99-ms", "0.001"])
    assert isinstance(done.exception, BackendError)
    assert "permitted are 0.001 ms" in str(done.exception)


def test_layers_that_are_not_known_are_no_image(tmp_path):
    with pytest.raises(ModelError, match="does not say what its layers cost"):
        write_image((), tmp_path / "layers.svg")
    assert not (tmp_path / "layers.svg").exists()


@pytest.mark.parametrize(
    ("value", "length"), [(0, 0), (1e-9, 1), (1, 30), (0.5, 15)], ids=["none", "least", "all", "half"]
)
def test_a_bar_is_as_long_as_its_fraction(value, length):
    assert len(bar(value, 1)) == length
