"""Backends by name, and the fastest of them by a measurement that is remembered."""

from __future__ import annotations

import importlib
import json
import time
from functools import partial

import numpy as np
import pytest

from edge.backends import choose
from edge.backends.choose import fastest_backend, open_backend, usable_backends
from edge.backends.description import BackendOptions
from edge.backends.fastest import FastestBackend, opened_and_checked, time_in_turn
from edge.backends.measurements import (
    Circumstances,
    Measurement,
    MeasurementCache,
    cache_path,
)
from edge.backends.onnxruntime import OnnxRuntimeBackend
from edge.backends.registry import BACKENDS
from edge.bundle.opening import open_bundle
from edge.core.errors import BackendError, ConfigError, ModelError
from tests.conftest import bright_cell_contract, write_bright_cell_model

MODULES = ["edge.backends.onnxruntime", "edge.backends.openvino"]


class PacedBackend:
    """ONNX Runtime with a pause before each inference: a backend whose speed is known."""

    def __init__(self, name, pause_s, log, model, contract):
        self.name, self._pause_s, self._log = name, pause_s, log
        self._backend = OnnxRuntimeBackend(model, contract, threads=1)
        self._log.append(f"open {name}")

    @property
    def description(self):
        return self._backend.description

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._log.append(f"close {self.name}")

    def infer(self, images_nchw):
        time.sleep(self._pause_s)
        return self._backend.infer(images_nchw)

    def warm_up(self, batch):
        self._log.append(f"warm {self.name} {batch}")
        self._backend.warm_up(batch)


def circumstances(batch, **changes):
    fields = {
        "model_digest": "0" * 64,
        "batch": batch,
        "threads": 1,
        "precision": None,
        "providers": (),
        "runtimes": {"onnxruntime": "1", "openvino": "2"},
        "processor": "p",
        "nvidia_gpu": False,
    }
    return Circumstances(**{**fields, **changes})


class Bench:
    """Two paced candidates: the first slow, the second quick."""

    def __init__(self, folder):
        self.log = []
        self.contract = bright_cell_contract()
        self.model = write_bright_cell_model(folder / "m.onnx", self.contract)
        self.cache = MeasurementCache(folder / "cache" / "backends.json")
        self.candidates = {
            "onnxruntime": self.paced("onnxruntime", 0.01),
            "openvino": self.paced("openvino", 0.0),
        }

    def paced(self, name, pause_s):
        return partial(PacedBackend, name, pause_s, self.log, self.model, self.contract)

    def fastest(self, check=lambda backend: None, circumstances=circumstances):
        checked = {
            name: partial(opened_and_checked, opener, check) for name, opener in self.candidates.items()
        }
        return FastestBackend(checked, (1, 64, 64), circumstances=circumstances, cache=self.cache)


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def broken(error):
    def opener():
        raise error

    return opener


def test_the_fastest_is_taken_and_the_other_closed(bench, caplog):
    caplog.set_level("INFO")
    with bench.fastest() as backend:
        assert backend.name == "onnxruntime"  # nothing is known before the first frame
        backend.warm_up(3)
        assert backend.name == "openvino"
        boxes, scores = backend.infer(np.zeros((3, 1, 64, 64), np.float32))
        assert boxes.shape[0] == scores.shape[0] == 3
    assert bench.log.count("close onnxruntime") == bench.log.count("close openvino") == 1
    (line,) = (one.getMessage() for one in caplog.records if "takes" in one.getMessage())
    assert line.startswith("backend openvino: a batch of 3 takes onnxruntime ")
    assert line.endswith("measured now")


def test_what_was_measured_is_remembered(bench, caplog):
    with bench.fastest() as backend:
        backend.warm_up(3)
    bench.log.clear()
    caplog.set_level("INFO")
    with bench.fastest() as backend:
        assert backend.name == "openvino"
        backend.warm_up(3)
    assert bench.log == ["open openvino", "warm openvino 3", "close openvino"]
    assert "as measured at 20" in caplog.text


@pytest.mark.parametrize(
    "changes",
    [
        {"model_digest": "1" * 64},
        {"threads": 2},
        {"precision": "bf16"},
        {"providers": ("CPUExecutionProvider",)},
        {"runtimes": {"onnxruntime": "1", "openvino": "3"}},
        {"processor": "q"},
        {"nvidia_gpu": True},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_under_other_circumstances_it_is_measured_again(bench, changes):
    with bench.fastest() as backend:
        backend.warm_up(1)
    bench.log.clear()
    with bench.fastest(circumstances=partial(circumstances, **changes)) as backend:
        backend.warm_up(1)
    assert {"open onnxruntime", "open openvino"} <= set(bench.log)


def test_a_larger_batch_is_measured_and_a_smaller_one_is_not(bench):
    with bench.fastest() as backend:
        for batch in (2, 1, 4):
            backend.warm_up(batch)
    batches = {one["circumstances"]["batch"] for one in kept(bench)}
    assert batches == {2, 4}


def kept(bench):
    return json.loads(bench.cache._path.read_text())["measurements"]


@pytest.mark.parametrize("error", [BackendError("No.", "Yes."), ImportError("gone")], ids=["own", "import"])
def test_one_that_does_not_open_is_skipped_and_not_remembered(bench, caplog, error):
    bench.candidates["openvino"] = broken(error)
    with bench.fastest() as backend:
        backend.warm_up(1)
        assert backend.name == "onnxruntime"
    assert "backend openvino is skipped" in caplog.text
    assert not bench.cache._path.exists()


def test_one_that_computes_something_else_is_skipped(bench):
    def check(backend):
        if backend.name == "openvino":
            raise ModelError("It differs.", "Use another.")

    with bench.fastest(check) as backend:
        backend.warm_up(1)
        assert backend.name == "onnxruntime"
    assert bench.log.count("close openvino") == 1


def test_the_remembered_one_may_be_gone(bench):
    with bench.fastest() as backend:
        backend.warm_up(1)
    bench.candidates["openvino"] = broken(BackendError("No.", "Yes."))
    with bench.fastest() as backend:
        backend.warm_up(1)
        assert backend.name == "onnxruntime"


def test_none_that_works_is_the_error_of_the_first(bench):
    bench.candidates = {name: broken(BackendError(f"{name}.", "Cure.")) for name in bench.candidates}
    with pytest.raises(BackendError, match=r"onnxruntime\."):
        bench.fastest()


def test_a_single_candidate_is_not_measured(bench, caplog):
    caplog.set_level("INFO")
    del bench.candidates["openvino"]
    with bench.fastest() as backend:
        backend.warm_up(2)
    assert bench.log == ["open onnxruntime", "warm onnxruntime 2", "close onnxruntime"]
    assert "no other is installed" in caplog.text
    assert not bench.cache._path.exists()


def test_ctrl_c_in_the_measurement_closes_all(bench, monkeypatch):
    monkeypatch.setattr("edge.backends.fastest.time_in_turn", broken_timing)
    with pytest.raises(KeyboardInterrupt), bench.fastest() as backend:
        backend.warm_up(1)
    assert bench.log.count("close onnxruntime") == bench.log.count("close openvino") == 1


def broken_timing(*_):
    raise KeyboardInterrupt


def test_backends_are_timed_in_turn(bench):
    with bench.candidates["onnxruntime"]() as slow, bench.candidates["openvino"]() as quick:
        times = time_in_turn({"onnxruntime": slow, "openvino": quick}, np.zeros((1, 1, 64, 64), np.float32))
    assert list(times) == ["onnxruntime", "openvino"]
    assert times["onnxruntime"] >= 10


@pytest.mark.parametrize(
    "damage",
    [b"", b"{", b"\xff\xfe", b"[]", b'{"format": 2}', b'{"format": 1, "measurements": [{}]}'],
    ids=["empty", "cut", "binary", "list", "newer", "fields"],
)
def test_a_damaged_cache_is_measured_again(bench, caplog, damage):
    bench.cache._path.parent.mkdir()
    bench.cache._path.write_bytes(damage)
    with bench.fastest() as backend:
        backend.warm_up(1)
    assert "is not used: it is damaged" in caplog.text
    assert len(kept(bench)) == 1


@pytest.mark.parametrize(
    "milliseconds", ["{}", '{"onnxruntime": -1}', '{"openvino": 0}', '{"openvino": "x"}']
)
def test_impossible_times_are_damage(tmp_path, milliseconds):
    path = tmp_path / "backends.json"
    one = circumstances(1).model_dump_json()
    fields = f'"circumstances": {one}, "milliseconds": {milliseconds}, "measured_utc": ""'
    path.write_text(f'{{"measurements": [{{{fields}}}]}}')
    assert MeasurementCache(path).find(circumstances(1)) is None


def test_an_unwritable_cache_is_logged_and_nothing_more(bench, caplog):
    bench.cache._path.parent.write_text("a file where a folder belongs")
    with bench.fastest() as backend:
        backend.warm_up(1)
        assert backend.name == "openvino"
    assert "the measurement is not kept" in caplog.text


def test_the_cache_does_not_grow_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr("edge.backends.measurements.MOST_KEPT", 10)
    cache = MeasurementCache(tmp_path / "backends.json")
    for batch in range(15):
        cache.add(Measurement(circumstances=circumstances(batch), milliseconds={"onnxruntime": 1.0}))
    cache.add(Measurement(circumstances=circumstances(9), milliseconds={"openvino": 2.0}))
    assert cache.find(circumstances(4)) is None
    assert cache.find(circumstances(5)) is not None
    assert cache.find(circumstances(9)).fastest_first() == ["openvino"]
    assert len(json.loads((tmp_path / "backends.json").read_text())["measurements"]) == 10


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"XDG_CACHE_HOME": "/c", "HOME": "/h"}, "/c/loomsight/backends.json"),
        ({"XDG_CACHE_HOME": "relative", "HOME": "/h"}, "/h/.cache/loomsight/backends.json"),
        ({"HOME": "/h"}, "/h/.cache/loomsight/backends.json"),
        ({"HOME": ""}, None),
        ({}, None),
    ],
    ids=["xdg", "relative", "home", "empty", "none"],
)
def test_where_the_cache_lies(environment, expected):
    path = cache_path(environment)
    assert (path and path.as_posix()) == expected


def test_without_a_cache_folder_nothing_is_remembered():
    cache = MeasurementCache(None)
    cache.add(Measurement(circumstances=circumstances(1), milliseconds={"onnxruntime": 1.0}))
    assert cache.find(circumstances(1)) is None


def test_every_backend_has_the_same_names():
    modules = [importlib.import_module(name) for name in MODULES if name.rpartition(".")[2] in installed()]
    for module in modules:
        (backend,) = (kind for name, kind in vars(module).items() if name.endswith("Backend"))
        assert backend.name in BACKENDS
        assert {"infer", "warm_up", "__enter__", "__exit__"} <= set(vars(backend))


def installed():
    return usable_backends(BackendOptions())


def test_what_is_usable_is_what_is_installed_and_able(monkeypatch):
    monkeypatch.setattr(choose, "find_spec", lambda module: True)
    assert usable_backends(BackendOptions()) == ["onnxruntime", "openvino"]
    assert usable_backends(BackendOptions(precision="bf16")) == ["openvino"]
    monkeypatch.setattr(choose, "find_spec", lambda module: module == "onnxruntime" or None)
    assert usable_backends(BackendOptions()) == ["onnxruntime"]
    assert usable_backends(BackendOptions(precision="bf16")) == []


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("onnxruntime", BackendOptions(precision="bf16"), "cannot compute in bf16. Use openvino"),
        ("openvino", BackendOptions(providers=("CPUExecutionProvider",)), "'providers' is not for"),
    ],
    ids=["precision", "providers"],
)
def test_an_option_of_another_backend_is_refused(bundle, contract, name, options, said):
    with pytest.raises(ConfigError, match=said):
        open_backend(name, open_bundle(bundle), contract, options)


def test_auto_without_any_that_is_able(bundle, contract, monkeypatch):
    monkeypatch.setattr(choose, "find_spec", lambda module: module == "onnxruntime" or None)
    with pytest.raises(ConfigError, match="No backend that is installed can compute in bf16"):
        fastest_backend(open_bundle(bundle), contract, BackendOptions(precision="bf16"), lambda *_: None)


def test_auto_on_a_bundle_with_what_is_installed(bundle, contract, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    options = BackendOptions(threads=1)
    with fastest_backend(open_bundle(bundle), contract, options, lambda *_: None) as backend:
        backend.warm_up(2)
        assert backend.name in installed()
    written = (tmp_path / "cache" / "loomsight" / "backends.json").exists()
    assert written == (len(installed()) > 1)
