"""Which engine fits which box, and what is refused; no GPU and no TensorRT is needed to know."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from edge.backends.tensorrt_engines import (
    BatchProfile,
    EngineManifest,
    Gpu,
    GpuHost,
    choose_engine,
    digest_of,
    read_manifest,
    why_not,
    write_engine,
)
from edge.backends.tensorrt_places import (
    bundle_of,
    engine_folder,
    is_private,
    manifests_for,
    models_of,
    sources_of,
)
from edge.bundle.manifest import BundleManifest
from edge.bundle.publish import publish_bundle, staging_folder
from edge.core.errors import ContractError, ModelError
from edge.core.files import file_digest
from tests.conftest import bright_cell_contract, write_bright_cell_model

SOURCE = "5" * 64
A2000 = Gpu(name="NVIDIA RTX A2000", capability="8.6")
ORIN = Gpu(name="Orin", capability="8.7")
ENGINE = b"an engine"


def profile(least=1, most=16):
    return BatchProfile(least=least, usual=most, most=most)


def manifest(**changes):
    fields = {
        "contract": bright_cell_contract(),
        "library": "tensorrt_rtx",
        "library_version": "1.7.1.116",
        "precision": "int8",
        "gpu": None,
        "capabilities": ("8.6",),
        "batch": profile(),
        "source_digest": SOURCE,
        "engine_digest": digest_of(ENGINE),
    }
    return EngineManifest(**{**fields, **changes})


def jetson(**changes):
    fields = {"library": "tensorrt", "library_version": "10.3.0", "gpu": "Orin", "capabilities": ("8.7",)}
    return manifest(**{**fields, **changes})


def box(gpu=A2000, **changes):
    fields = {
        "libraries": {"tensorrt_rtx": "1.7.1.116"},
        "contract": bright_cell_contract(),
        "sources": {SOURCE: "int8", "3" * 64: "f32"},
    }
    return GpuHost(gpu, **{**fields, **changes})


def on_orin(version="10.3.0", gpu=ORIN):
    return box(gpu, libraries={"tensorrt": version})


NAMED_A2000 = "this GPU is NVIDIA RTX A2000 (SM86)"


@pytest.mark.parametrize(
    ("engine", "place", "reason"),
    [
        (manifest(), box(), None),
        (manifest(capabilities=("8.9",)), box(), f"built for SM89; {NAMED_A2000}"),
        (manifest(capabilities=("8.9", "8.6")), box(), None),
        (manifest(library_version="1.6.0"), box(), "built by tensorrt_rtx 1.6.0; here 1.7.1.116"),
        (jetson(), box(), "built by tensorrt 10.3.0; here tensorrt_rtx 1.7.1.116"),
        (jetson(), on_orin(), None),
        (jetson(), on_orin("10.16.0"), "built by tensorrt 10.3.0; here 10.16.0"),
        (jetson(version_compatible=True), on_orin("10.16.0"), None),
        (jetson(version_compatible=True), on_orin("10.2.1"), "built by tensorrt 10.3.0; here 10.2.1"),
        (jetson(version_compatible=True), on_orin("11.0.0"), "built by tensorrt 10.3.0; here 11.0.0"),
        (jetson(), on_orin(gpu=A2000), f"built for Orin (SM87); {NAMED_A2000}"),
        (
            jetson(),
            on_orin(gpu=Gpu(name="Orin NX", capability="8.7")),
            "built for Orin (SM87); this GPU is Orin NX (SM87)",
        ),
        (
            jetson(hardware="same_compute_capability"),
            on_orin(gpu=Gpu(name="Orin NX", capability="8.7")),
            None,
        ),
        (jetson(hardware="ampere_plus"), on_orin(gpu=Gpu(name="B", capability="12.0")), None),
        (
            jetson(hardware="ampere_plus"),
            on_orin(gpu=Gpu(name="T4", capability="7.5")),
            "built for Orin (SM87); this GPU is T4 (SM75)",
        ),
        (manifest(source_digest="6" * 64), box(), "built from another model"),
        (manifest(precision="f16"), box(), "says f16, its model is int8"),
        (manifest(precision="f16"), box(sources={SOURCE: None}), None),
        (
            manifest(contract=bright_cell_contract(iou_threshold=0.4)),
            box(),
            "its contract is not the one of the model",
        ),
        (manifest(), box(libraries={}), "built by tensorrt_rtx 1.7.1.116; here there is none"),
    ],
)
def test_why_an_engine_does_not_fit(engine, place, reason):
    assert why_not(engine, place) == reason


def test_engines_of_other_gpus_versions_precisions_batches_and_models_have_other_names():
    changes = [
        {},
        {"capabilities": ("8.9",)},
        {"library_version": "1.6.0"},
        {"precision": "f16"},
        {"batch": profile(16, 16)},
        {"source_digest": "6" * 64},
        {"library": "tensorrt", "gpu": "Orin NX"},
        {"library": "tensorrt", "gpu": "Orin"},
        {"version_compatible": True},
        {"hardware": "ampere_plus"},
    ]
    stems = [manifest(**change).stem for change in changes]
    assert len(set(stems)) == len(stems)
    assert stems[0] == "sm86_tensorrt_rtx-1.7.1.116_int8_b1-16_55555555"
    assert stems[6] == "orin-nx_sm86_tensorrt-1.7.1.116_int8_b1-16_55555555"


@given(gpu=st.text(max_size=40), most=st.integers(1, 1024))
def test_a_name_is_a_plain_file_name_whatever_the_gpu_is_called(gpu, most):
    stem = manifest(library="tensorrt", gpu=gpu or None, batch=profile(1, most)).stem
    assert stem.isascii()
    assert not set(stem) & set("/\\ :")


def test_the_lowest_precision_of_the_preferred_library_comes_first(tmp_path):
    written = [
        write_engine(tmp_path, ENGINE, one)
        for one in (
            manifest(precision="f32", source_digest="3" * 64),
            manifest(batch=profile(8, 8)),
            manifest(),
            jetson(gpu=A2000.name, capabilities=("8.6",)),
        )
    ]
    place = box(libraries={"tensorrt": "10.3.0", "tensorrt_rtx": "1.7.1.116"})
    choice = choose_engine(sorted(tmp_path.glob("*.json")), place)
    assert choice.fitting == (written[3], written[2], written[1], written[0])
    assert choice.skipped == ()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda engine, beside: engine.write_bytes(b"another engine"), "was changed after it was built"),
        (lambda engine, beside: engine.unlink(), "the engine itself is missing"),
        (lambda engine, beside: beside.write_text("{"), "is not valid"),
        (lambda engine, beside: beside.write_text(beside.read_text()[:-40]), "is not valid"),
        (
            lambda engine, beside: beside.write_text(beside.read_text().replace('"int8"', '"int4"')),
            "precision",
        ),
    ],
    ids=["changed", "missing", "no manifest", "half a manifest", "unknown precision"],
)
def test_what_is_damaged_is_skipped_with_a_reason(tmp_path, damage, said):
    engine = write_engine(tmp_path, ENGINE, manifest())
    damage(engine.path, engine.path.with_suffix(".json"))
    choice = choose_engine(sorted(tmp_path.glob("*.json")), box())
    assert choice.fitting == ()
    assert said in choice.skipped[0]
    assert "\n" not in choice.skipped[0]


def test_an_engine_is_read_only_if_its_digest_holds(tmp_path):
    engine = write_engine(tmp_path, ENGINE, manifest())
    assert engine.read() == ENGINE
    engine.path.write_bytes(ENGINE + b".")
    with pytest.raises(ModelError, match="was changed after it was built"):
        engine.read()
    engine.path.unlink()
    with pytest.raises(ModelError, match="edge-doctor --build"):
        engine.read()


def test_a_manifest_comes_back_as_it_was_written(tmp_path):
    engine = write_engine(tmp_path, ENGINE, jetson(version_compatible=True))
    assert read_manifest(engine.path.with_suffix(".json")) == engine.manifest
    with pytest.raises(ModelError, match="Cannot read"):
        read_manifest(tmp_path / "none.json")


def test_a_manifest_of_another_format_is_refused(tmp_path):
    beside = write_engine(tmp_path, ENGINE, manifest()).path.with_suffix(".json")
    beside.write_text(beside.read_text().replace('"format": 1', '"format": 2'))
    with pytest.raises(ContractError, match="format"):
        read_manifest(beside)


def test_until_the_engine_is_whole_no_manifest_vouches_for_it(tmp_path, monkeypatch):
    from edge.backends import tensorrt_engines

    write_engine(tmp_path, ENGINE, manifest())

    def full_disk(path, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tensorrt_engines, "write_whole", full_disk)
    with pytest.raises(OSError, match="No space"):
        write_engine(tmp_path, ENGINE, manifest())
    assert list(tmp_path.glob("*.json")) == []


@pytest.mark.parametrize("sizes", [(0, 1, 1), (2, 1, 4), (1, 5, 4), (1, 1, 2000)], ids=str)
def test_a_batch_profile_is_in_order(sizes):
    least, usual, most = sizes
    with pytest.raises(ValidationError):
        BatchProfile(least=least, usual=usual, most=most)


def published_with_engine(folder, *, vouched=True):
    """Publish a bundle with an INT8 model and an engine of it."""
    contract = bright_cell_contract()
    with staging_folder(folder) as staged:
        names = ("model.onnx", "model.int8.onnx")
        files = {name: file_digest(write_bright_cell_model(staged / name, contract)) for name in names}
        engine = write_engine(staged / "engines", ENGINE, manifest(source_digest=files["model.int8.onnx"]))
        if vouched:
            for path in (engine.path, engine.path.with_suffix(".json")):
                files[f"engines/{path.name}"] = file_digest(path)
        publish_bundle(staged, folder, BundleManifest(contract=contract, files=files))
    return folder


def test_engines_of_a_bundle_are_taken_if_the_bundle_vouches_for_them(tmp_path):
    bundle = bundle_of(published_with_engine(tmp_path / "bundle") / "model.onnx")
    assert set(models_of(bundle)) == {"f32", "int8"}
    (found,) = manifests_for(bundle, {})
    assert found.parent == tmp_path / "bundle" / "engines"
    other = bundle_of(published_with_engine(tmp_path / "other", vouched=False) / "model.onnx")
    assert manifests_for(other, {}) == []


def test_a_changed_engine_refuses_the_whole_bundle(tmp_path):
    bundle = published_with_engine(tmp_path / "bundle")
    next((bundle / "engines").glob("*.engine")).write_bytes(b"x")
    with pytest.raises(ModelError, match="was changed after the bundle was published"):
        bundle_of(bundle / "model.onnx")


def test_a_bare_file_is_its_own_source(tmp_path, contract):
    path = write_bright_cell_model(tmp_path / "m.onnx", contract)
    assert sources_of(bundle_of(path)) == {file_digest(path): None}


def test_engines_of_this_box_are_taken_if_nobody_else_could_write_them(tmp_path, contract):
    environment = {"XDG_CACHE_HOME": str(tmp_path)}
    bundle = bundle_of(write_bright_cell_model(tmp_path / "m.onnx", contract))
    folder = engine_folder(environment)
    assert manifests_for(bundle, environment) == []
    engine = write_engine(folder, ENGINE, manifest())
    beside = engine.path.with_suffix(".json")
    assert manifests_for(bundle, environment) == [beside]
    engine.path.chmod(0o666)
    assert not is_private(engine.path)
    assert manifests_for(bundle, environment) == []
    engine.path.chmod(0o644)
    folder.chmod(0o777)
    assert manifests_for(bundle, environment) == []
    assert engine_folder({}) is None
    assert not is_private(tmp_path / "none")
