"""Engines are built for real by TensorRT-RTX, which needs no GPU for it; skipped without the package."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import helper

from edge.backends.tensorrt_build import EngineRequest, build_engine
from edge.backends.tensorrt_builder import build_here, parser_reason
from edge.backends.tensorrt_engines import BatchProfile, digest_of
from edge.backends.tensorrt_library import (
    BuildOptions,
    KeptErrors,
    Library,
    TimingCache,
    first_reason,
    installed_libraries,
    known_capabilities,
    network_flags,
    open_library,
    set_target,
)
from edge.backends.tensorrt_progress import Phases
from edge.core.errors import BackendError, ContractError, ModelError
from tests.conftest import bright_cell_contract
from tests.unit.edge.small_detector import write_small_detector

needs_rtx = pytest.mark.skipif("tensorrt_rtx" not in installed_libraries(), reason="needs tensorrt-rtx")
FREE = BatchProfile(least=1, usual=4, most=4)
FIXED = BatchProfile(least=4, usual=4, most=4)
QUIET = Phases(lambda fraction, phase: None)


@pytest.fixture(scope="module")
def rtx():
    return open_library("tensorrt_rtx")


@pytest.fixture
def request_(tmp_path, contract):
    model = write_small_detector(tmp_path / "m.onnx", contract)
    return EngineRequest(model, contract, "f32", FREE, ("8.6",))


@needs_rtx
@pytest.mark.parametrize("batch", [FREE, FIXED], ids=["free batch", "fixed batch"])
@pytest.mark.parametrize("float16", [False, True], ids=["f32", "f16"])
def test_an_engine_is_built_without_a_gpu(rtx, request_, batch, float16):
    write_small_detector(request_.model_path, request_.contract, float16=float16)
    fractions = []
    wanted = replace(request_, batch=batch, precision="f16" if float16 else "f32", capabilities=("8.9",))
    built = build_engine(wanted, rtx, lambda fraction, phase: fractions.append(fraction))
    assert len(built.engine) > 1000
    assert built.manifest.engine_digest == digest_of(built.engine)
    assert built.manifest.source_digest == digest_of(request_.model_path.read_bytes())
    assert (built.manifest.target, built.manifest.batch) == ("SM89", batch)
    assert (built.manifest.library, built.manifest.gpu) == ("tensorrt_rtx", None)
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0, 1)


@needs_rtx
def test_tensorrt_says_nothing_on_stderr(rtx, request_, capfd, caplog):
    with caplog.at_level(logging.INFO):
        build_engine(request_, rtx)
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


@needs_rtx
def test_a_model_of_a_fixed_batch_is_built_for_that_batch(rtx, request_):
    write_small_detector(request_.model_path, request_.contract, batch=4)
    model = request_.model_path.read_bytes()
    build_here(replace(request_, batch=FIXED), rtx, model, QUIET)
    with pytest.raises(BackendError, match="takes batches of 4 alone"):
        build_here(request_, rtx, model, QUIET)


@needs_rtx
def test_a_truncated_model_is_refused_on_one_line(rtx, request_):
    data = request_.model_path.read_bytes()
    request_.model_path.write_bytes(data[: len(data) // 2])
    with pytest.raises(ModelError, match="cannot be read as an ONNX model") as caught:
        build_engine(request_, rtx)
    assert "\n" not in str(caught.value)


def strange_model(path, contract):
    """Put an operator into the small detector that ONNX Runtime has and TensorRT has not."""
    model = onnx.load(write_small_detector(path, contract))
    relu = next(node for node in model.graph.node if node.op_type == "Relu")
    strange = helper.make_node("BiasGelu", ["a", "first_bias_8"], ["b"], "strange", domain="com.microsoft")
    value = onnx.numpy_helper.from_array(np.zeros(64, np.float32), "first_bias_8")
    model.graph.initializer.append(value)
    position = list(model.graph.node).index(relu)
    model.graph.node.remove(relu)
    model.graph.node.insert(position, strange)
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    onnx.save(model, str(path))


@needs_rtx
def test_an_operator_it_does_not_know_is_named(rtx, request_, capfd):
    strange_model(request_.model_path, request_.contract)
    with pytest.raises(ModelError, match="strange, BiasGelu") as caught:
        build_engine(request_, rtx)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


@needs_rtx
def test_a_contract_that_is_not_the_models_is_refused(rtx, request_):
    with pytest.raises(ContractError, match="is not the one of its bundle"):
        build_engine(replace(request_, contract=bright_cell_contract(iou_threshold=0.4)), rtx)


@needs_rtx
def test_a_head_of_other_classes_than_the_contract_says_is_refused(rtx, tmp_path):
    contract = bright_cell_contract(class_names=("a", "b"), score_thresholds={"a": 0.5, "b": 0.5})
    model = write_small_detector(tmp_path / "m.onnx", contract)
    with pytest.raises(ContractError, match="2 classes"):
        build_engine(EngineRequest(model, contract, "f32", FREE, ("8.6",)), rtx)


@needs_rtx
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"capabilities": ("9.0",)}, "cannot build for SM90; it knows SM75"),
        ({"options": BuildOptions(version_compatible=True)}, "no engines for other versions"),
        ({"options": BuildOptions(hardware="ampere_plus")}, "no engines for other versions"),
    ],
    ids=["capability", "version", "hardware"],
)
def test_what_rtx_cannot_build_for_is_said(rtx, request_, changes, said):
    with pytest.raises(BackendError, match=said):
        build_here(replace(request_, **changes), rtx, request_.model_path.read_bytes(), QUIET)


def child():
    """Return the process that builds."""
    (process,) = multiprocessing.active_children()
    return process


@needs_rtx
def test_ctrl_c_ends_a_build_and_leaves_nothing(rtx, request_):
    pressed, before = [], signal.getsignal(signal.SIGINT)

    def press(fraction, phase):
        if fraction > 0.2 and not pressed:
            pressed.append(child())
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        build_engine(request_, rtx, press)
    assert not pressed[0].is_alive()
    assert [path.name for path in request_.model_path.parent.iterdir()] == ["m.onnx"]
    assert signal.getsignal(signal.SIGINT) is before


@needs_rtx
def test_a_build_ends_at_the_next_step_when_it_is_stopped(rtx, request_):
    steps = []
    phases = Phases(lambda fraction, phase: steps.append(fraction))
    with pytest.raises(BackendError, match="BuildCanceled"):
        build_here(request_, rtx, request_.model_path.read_bytes(), phases, lambda: len(steps) > 20)
    assert len(steps) < 40


@needs_rtx
def test_a_build_that_runs_out_of_memory_says_so(rtx, request_):
    def starve(fraction, phase):
        rtx.kept.add("Unexpected exception std::bad_alloc")

    steps = Phases(starve)
    with pytest.raises(BackendError, match="ran out of memory") as caught:
        build_here(request_, rtx, request_.model_path.read_bytes(), steps, lambda: True)
    assert "smaller batch" in caught.value.cure


@needs_rtx
@pytest.mark.parametrize(
    ("number", "said"), [(signal.SIGKILL, "ran out of memory"), (signal.SIGSEGV, "ended by SIGSEGV")]
)
def test_a_builder_that_is_no_more_is_told_of_on_one_line(rtx, request_, number, said):
    def end(fraction, phase):
        os.kill(child().pid, number)

    with pytest.raises(BackendError, match=said):
        build_engine(request_, rtx, end)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], "no reason given"),
        (["Unexpected exception std::bad_alloc"], "Unexpected exception std::bad_alloc"),
        (
            [
                "IBuilder::buildSerializedNetwork: Error Code 7: BuildCanceled (Build canceled by user In "
                "next at /_src/optimizer/common/scopedProgressReporter.cpp:92)"
            ],
            "BuildCanceled (Build canceled by user",
        ),
        (
            [
                "[checkMacros.cpp::catchCudaError::250] Error Code 1: Cuda Runtime "
                "(In catchCudaError at /a.cpp:2)"
            ],
            "Cuda Runtime",
        ),
        (["two\nlines"], "two lines"),
        (["x" * 500], "x" * 200),
    ],
)
def test_what_tensorrt_says_becomes_one_line(lines, said):
    assert first_reason(lines) == said


def test_errors_are_forgotten_between_builds_and_memory_is_noticed():
    kept = KeptErrors()
    assert not kept.ran_out_of_memory
    kept.add("Requested amount of GPU memory could not be allocated")
    kept.add("another")
    assert kept.ran_out_of_memory
    assert kept.reason.startswith("Requested amount")
    kept.forget()
    assert (kept.reason, kept.ran_out_of_memory) == ("no reason given", False)


def parser_error(desc, name, operator):
    return SimpleNamespace(desc=lambda: desc, node_name=lambda: name, node_operator=lambda: operator)


def test_a_parser_error_names_its_node():
    errors = [parser_error("no such operator", "head", "NonZero"), parser_error("other", "", "")]
    assert parser_reason(errors, KeptErrors()) == "no such operator (node head, NonZero)"
    assert parser_reason([parser_error("bad file", "", "")], KeptErrors()) == "bad file"
    kept = KeptErrors()
    kept.add("not a protobuf")
    assert parser_reason([], kept) == "not a protobuf"


@needs_rtx
def test_rtx_builds_for_sm86_and_sm89_and_tensorrt_for_none_unseen(rtx):
    assert {"8.6", "8.9"} <= set(known_capabilities(rtx))
    assert known_capabilities(Library("tensorrt", SimpleNamespace())) == []


def test_networks_are_strongly_typed_where_that_has_to_be_asked_for():
    old = SimpleNamespace(NetworkDefinitionCreationFlag=SimpleNamespace(EXPLICIT_BATCH=0, STRONGLY_TYPED=1))
    gone = SimpleNamespace(NetworkDefinitionCreationFlag=SimpleNamespace())
    assert network_flags(old) == 2
    assert network_flags(gone) == 0


class Tensorrt10Config:
    """What of a builder configuration of TensorRT 10 is used, with a memory of it."""

    def __init__(self, mismatch=False):
        self.flags, self.hardware_compatibility_level, self.cache = [], "NONE", None
        self.mismatch = mismatch

    def set_flag(self, flag):
        self.flags.append(flag)

    def create_timing_cache(self, blob):
        return SimpleNamespace(serialize=lambda: blob + b"+")

    def set_timing_cache(self, cache, ignore_mismatch):
        if self.mismatch and cache.serialize() != b"+":
            return False
        self.cache = cache
        return True


def tensorrt10(**levels):
    trt = SimpleNamespace(
        __version__="10.3.0",
        BuilderFlag=SimpleNamespace(VERSION_COMPATIBLE="version"),
        HardwareCompatibilityLevel=SimpleNamespace(AMPERE_PLUS="ampere", **levels),
    )
    return Library("tensorrt", trt)


def test_tensorrt_is_told_of_other_versions_and_gpus():
    config = Tensorrt10Config()
    set_target(tensorrt10(), config, ("8.7",), BuildOptions())
    assert (config.flags, config.hardware_compatibility_level) == ([], "NONE")
    set_target(tensorrt10(), config, ("8.7",), BuildOptions(True, "ampere_plus"))
    assert (config.flags, config.hardware_compatibility_level) == (["version"], "ampere")


def test_a_compatibility_that_came_later_is_refused_by_an_old_tensorrt():
    with pytest.raises(BackendError, match=r"TensorRT 10\.3\.0 does not know"):
        set_target(
            tensorrt10(), Tensorrt10Config(), ("8.7",), BuildOptions(hardware="same_compute_capability")
        )


@pytest.mark.parametrize(
    ("blob", "mismatch", "kept"), [(b"", False, b"+"), (b"old", False, b"old+"), (b"old", True, b"+")]
)
def test_a_timing_cache_of_another_gpu_starts_again(blob, mismatch, kept):
    assert TimingCache(tensorrt10(), Tensorrt10Config(mismatch), blob).serialized() == kept


@needs_rtx
def test_rtx_has_no_timing_cache(rtx):
    assert TimingCache(rtx, None, b"blob").serialized() == b""


def test_progress_never_falls_and_ends_at_one():
    seen = []
    phases = Phases(lambda fraction, phase: seen.append(fraction))
    phases.start("build", None, 2)
    phases.start("part", "build", 4)
    phases.step("part", 0)
    phases.step("part", 1)
    assert seen[-1] == pytest.approx(0.25)
    phases.finish("part")
    phases.step("build", 0)
    assert seen[-1] == 0.5
    phases.start("part", "build", 2)
    phases.step("unknown", 3)
    phases.finish("unknown")
    phases.step("part", 9)
    phases.finish("part")
    phases.step("build", 1)
    phases.finish("build")
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


def test_progress_may_come_from_several_threads():
    seen = []
    phases = Phases(lambda fraction, phase: seen.append(fraction))
    phases.start("build", None, 400)

    def work(name):
        phases.start(name, "build", 100)
        for step in range(100):
            phases.step(name, step)
        phases.finish(name)

    threads = [threading.Thread(target=work, args=(f"part {number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == sorted(seen)
    assert max(seen) <= 1
