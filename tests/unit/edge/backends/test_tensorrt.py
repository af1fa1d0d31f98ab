"""The TensorRT backend: what it says without a GPU and, where there is one, that it agrees with others."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from edge.backends import choose, registry, tensorrt
from edge.backends.choose import open_backend, usable_backends
from edge.backends.description import BackendOptions
from edge.backends.onnxruntime import OnnxRuntimeBackend
from edge.backends.probe import nvidia_gpu_present
from edge.backends.tensorrt import TensorRtBackend, check_images, no_engine, open_device, open_libraries
from edge.backends.tensorrt_engines import EngineChoice, EngineFile
from edge.backends.tensorrt_places import bundle_of
from edge.core.errors import BackendError, ConfigError
from edge.inference.engine_build import BuildRequest, batch_profile, build_engines, capability_of, model_for
from tests.unit.edge.backends.test_tensorrt_engines import manifest
from tests.unit.edge.small_detector import write_small_detector

without_gpu = pytest.mark.skipif(nvidia_gpu_present(), reason="says what happens without a GPU")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "loomsight" / "engines"


@pytest.fixture
def model(tmp_path, contract):
    return write_small_detector(tmp_path / "m.onnx", contract)


@without_gpu
def test_without_a_gpu_it_says_so_before_it_asks_for_packages(model, contract):
    with pytest.raises(BackendError, match="no NVIDIA GPU whose driver runs"):
        open_backend("tensorrt", bundle_of(model), contract, BackendOptions())


@without_gpu
def test_auto_does_not_offer_it_without_a_gpu(monkeypatch):
    monkeypatch.setattr(choose, "find_spec", lambda module: True)
    assert "tensorrt" not in usable_backends(BackendOptions())


def test_auto_offers_it_with_a_gpu_and_its_packages(monkeypatch):
    monkeypatch.setattr(choose, "find_spec", lambda module: True)
    monkeypatch.setattr(registry, "nvidia_gpu_present", lambda: True)
    monkeypatch.setattr("edge.backends.tensorrt_library.installed_libraries", lambda: ["tensorrt"])
    assert "tensorrt" in usable_backends(BackendOptions())
    assert "tensorrt" not in usable_backends(BackendOptions(precision="bf16"))
    monkeypatch.setattr("edge.backends.tensorrt_library.installed_libraries", lambda: [])
    assert "tensorrt" not in usable_backends(BackendOptions())


def test_a_driver_that_is_not_there_is_no_missing_package(monkeypatch):
    monkeypatch.setattr(tensorrt, "nvidia_gpu_present", lambda: True)
    broken = ImportError("libcuda.so.1: cannot open shared object file: No such file or directory")
    monkeypatch.setattr("builtins.__import__", failing_import("edge.backends.tensorrt_cuda", broken))
    with pytest.raises(BackendError, match="Install the NVIDIA driver"):
        open_device()


def test_a_missing_pycuda_is_a_missing_package(monkeypatch):
    monkeypatch.setattr(tensorrt, "nvidia_gpu_present", lambda: True)
    missing = ModuleNotFoundError("No module named 'pycuda'", name="pycuda")
    monkeypatch.setattr("builtins.__import__", failing_import("edge.backends.tensorrt_cuda", missing))
    with pytest.raises(ModuleNotFoundError, match="pycuda"):
        open_device()


def failing_import(module, error):
    usual = __import__

    def imported(name, *arguments, **named):
        if name == module:
            raise error
        return usual(name, *arguments, **named)

    return imported


def test_without_a_library_the_package_is_named(monkeypatch):
    monkeypatch.setattr(tensorrt, "installed_libraries", lambda: [])
    with pytest.raises(ModuleNotFoundError, match="tensorrt") as caught:
        open_libraries()
    assert caught.value.name == "tensorrt"


def test_a_library_that_does_not_load_is_skipped(monkeypatch, caplog):
    def opened(name):
        if name == "tensorrt":
            raise ImportError("libnvinfer.so.10: cannot open", name=name)
        return name

    monkeypatch.setattr(tensorrt, "installed_libraries", lambda: ["tensorrt", "tensorrt_rtx"])
    monkeypatch.setattr(tensorrt, "open_library", opened)
    assert open_libraries() == {"tensorrt_rtx": "tensorrt_rtx"}
    assert "libnvinfer" in caplog.text


@pytest.mark.parametrize(
    "images",
    [np.zeros((1, 1, 32, 64), np.float32), np.zeros((1, 3, 64, 64), np.float32), np.zeros((1, 1, 64, 64))],
    ids=["size", "channels", "type"],
)
def test_images_that_are_not_the_networks_are_refused(contract, images):
    with pytest.raises(BackendError, match=r"the network takes float32 \[B, 1, 64, 64\]"):
        check_images(images, contract)


def test_why_no_engine_fits_is_said_of_each(tmp_path):
    reasons = ("a: built for SM89; this GPU is X (SM86)", "b: built by tensorrt_rtx 1.6; here 1.7")
    error = no_engine(tmp_path / "m.onnx", EngineChoice((), reasons))
    assert "built for SM89; this GPU is X (SM86); b: built by tensorrt_rtx 1.6; here 1.7" in str(error)
    assert "edge-doctor --build" in error.cure


@pytest.mark.parametrize("name", ["sm86", "SM86", "sm_86", "86", "8.6", " 8.6 "])
def test_a_compute_capability_may_be_written_as_people_do(name):
    assert capability_of(name) == "8.6"


@pytest.mark.parametrize("name", ["", "orin", "8", "sm8.66", "-86"])
def test_what_is_no_compute_capability_is_refused(name):
    with pytest.raises(ConfigError, match="sm86 or 8"):
        capability_of(name)


@pytest.mark.parametrize("batch", [0, -1, 5000])
def test_a_batch_out_of_range_is_refused(batch):
    with pytest.raises(ConfigError, match=f"--batch {batch}"):
        batch_profile(batch, False)


def test_batches_are_free_up_to_the_most_or_fixed():
    assert (str(batch_profile(None, False)), str(batch_profile(9, True))) == ("1-16", "9")


def test_a_precision_the_model_has_not_is_refused(model):
    assert model_for(bundle_of(model), None) == ("f32", model)
    with pytest.raises(ConfigError, match=r"has no int8 model\. It has: f32"):
        model_for(bundle_of(model), "int8")


@without_gpu
def test_building_for_this_box_wants_a_gpu(model):
    with pytest.raises(BackendError, match="--build --for sm86"):
        build_engines(BuildRequest(model))


def test_an_engine_for_other_boxes_lies_in_the_cache_folder(model, cache, capsys):
    pytest.importorskip("tensorrt_rtx")
    (engine,) = build_engines(BuildRequest(model, batch=2, targets=("sm86", "8.6")))
    assert engine.path.parent == cache
    assert engine.read()
    assert capsys.readouterr().out.startswith(f"{engine.path}: f32, ")
    assert sorted(path.suffix for path in cache.iterdir()) == [".engine", ".json"]
    again = build_engines(BuildRequest(model, batch=2, targets=("sm86",)))
    assert again[0].path == engine.path
    with pytest.raises(ConfigError, match="cannot build for SM90"):
        build_engines(BuildRequest(model, targets=("sm90",)))


def images(batch, seed=0):
    return np.random.default_rng(seed).random((batch, 1, 64, 64), np.float32)


@pytest.fixture
def built(model):
    pytest.importorskip("pycuda")
    build_engines(BuildRequest(model, batch=4))
    return model


@pytest.mark.gpu
@pytest.mark.skipif(not nvidia_gpu_present(), reason="needs an NVIDIA GPU")
@pytest.mark.parametrize("warm", [(), (3,), (4, 1)], ids=str)
def test_it_gives_what_onnx_runtime_gives(built, contract, warm):
    with TensorRtBackend(built, contract) as ours, OnnxRuntimeBackend(built, contract) as theirs:
        for batch in warm:
            ours.warm_up(batch)
        for batch in (1, 4, 3, 11):
            expected = theirs.infer(images(batch))
            for got, wanted in zip(ours.infer(images(batch)), expected, strict=True):
                assert got.dtype == np.float32
                np.testing.assert_allclose(got, wanted, rtol=1e-2, atol=1e-2)  # TF32


@pytest.mark.gpu
@pytest.mark.skipif(not nvidia_gpu_present(), reason="needs an NVIDIA GPU")
def test_a_fixed_batch_and_its_graph_give_the_same(built, contract):
    with TensorRtBackend(built, contract) as free:
        expected = free.infer(images(3))
    build_engines(BuildRequest(built, batch=3, fixed_batch=True))
    with TensorRtBackend(built, contract) as fixed:
        fixed.warm_up(3)
        for _ in range(3):
            for got, wanted in zip(fixed.infer(images(3)), expected, strict=True):
                np.testing.assert_allclose(got, wanted, rtol=1e-2, atol=1e-2)


@pytest.mark.gpu
@pytest.mark.skipif(not nvidia_gpu_present(), reason="needs an NVIDIA GPU")
def test_a_result_outlives_the_next_inference_and_the_backend(built, contract):
    with TensorRtBackend(built, contract) as backend:
        boxes, scores = backend.infer(images(2))
        kept = boxes.copy(), scores.copy()
        backend.infer(images(2, seed=1))
    np.testing.assert_array_equal(boxes, kept[0])
    np.testing.assert_array_equal(scores, kept[1])


@pytest.mark.gpu
@pytest.mark.skipif(not nvidia_gpu_present(), reason="needs an NVIDIA GPU")
def test_several_cameras_use_an_engine_each_in_its_thread(built, contract):
    with TensorRtBackend(built, contract) as first, TensorRtBackend(built, contract) as second:
        expected = [first.infer(images(2, seed))[1] for seed in range(2)]
        wrong = []

        def look(backend, seed):
            for _ in range(20):
                if not np.array_equal(backend.infer(images(2, seed))[1], expected[seed]):
                    wrong.append(seed)

        threads = [threading.Thread(target=look, args=pair) for pair in ((first, 0), (second, 1))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


@pytest.mark.gpu
@pytest.mark.skipif(not nvidia_gpu_present(), reason="needs an NVIDIA GPU")
def test_an_engine_that_is_none_is_refused_on_one_line(built, contract, cache):
    from edge.backends.tensorrt_cuda import LoadedEngine

    device, library = open_device(), next(iter(open_libraries().values()))
    path = cache / "none.engine"
    path.write_bytes(b"an engine")
    with pytest.raises(BackendError, match="does not take"):
        LoadedEngine(device, library, EngineFile(path, manifest()))
