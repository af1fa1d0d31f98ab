from __future__ import annotations

import os
import sys

import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from edge.backends.onnxruntime import IDENTITY_MODEL, OnnxRuntimeBackend, why_cuda_does_not_start
from edge.backends.probe import nvidia_gpu_present
from edge.backends.provider_start import CPU, CUDA, catch_output, cure_of, reason_in
from edge.core.errors import BackendError
from tests.conftest import bright_cell_contract, write_bright_cell_model

NO_LIBRARY = (
    "\x1b[1;31m2026-11-21 11:18:06.323 [E:onnxruntime:Default, provider_bridge_ort.cc:2458 operator()] "
    "/onnxruntime_src/provider_bridge_ort.cc:2043 onnxruntime::ProviderLibrary::Get() "
    "[ONNXRuntimeError] : 1 : FAIL : Failed to load library /x/capi/libonnxruntime_providers_cuda.so with "
    "error: {library}: cannot open shared object file: No such file or directory\n\x1b[m\n"
    "\x1b[0;93m2026-11-21 [W:onnxruntime:Default, pybind_state.cc:1295 Create] Failed to create "
    "CUDAExecutionProvider. Require cuDNN 9.* and CUDA 13.*.\x1b[m\n"
)
"""What ONNX Runtime 1.31.1 writes without the libraries of CUDA (recorded), shortened."""

NO_DEVICE = (
    "*************** EP Error ***************\nEP Error /onnxruntime_src/cuda_call.cc:129 bool "
    "onnxruntime::CudaCall(...) CUDA failure 35: CUDA driver version is insufficient for CUDA runtime "
    "version ; GPU=-1 ; expr=cudaSetDevice(0); when using ['CUDAExecutionProvider']\n"
)
"""After the form of its cuda_call.cc; not recorded, for want of such a device."""

UNTESTABLE = nvidia_gpu_present() or CUDA not in onnxruntime.get_available_providers()


@pytest.mark.parametrize(
    ("text", "reason", "cure"),
    [
        (
            NO_LIBRARY.format(library="libcublasLt.so.13"),
            "libcublasLt.so.13: cannot open shared object file: No such file or directory",
            "pip install 'onnxruntime-gpu[cuda,cudnn]'",
        ),
        (
            NO_LIBRARY.format(library="libcuda.so.1"),
            "libcuda.so.1: cannot open shared object file: No such file or directory",
            "NVIDIA driver",
        ),
        (
            NO_DEVICE,
            "CUDA failure 35: CUDA driver version is insufficient for CUDA runtime version",
            "Compare the driver",
        ),
        ("EP Error bad\noption when using ['X']", "bad option", "Compare"),
        ("[W:onnxruntime:Default, a.cc:1 F] Failed to create X.\n", "Failed to create X", "Compare"),
        ("", "failed to start", "Compare"),
    ],
    ids=["no library", "no driver", "old driver", "error of a provider", "warning", "nothing said"],
)
def test_the_reason_is_one_line_and_has_a_cure(text, reason, cure):
    assert reason_in(text) == reason
    assert cure in cure_of(reason)


def test_output_of_libraries_and_of_python_is_caught(capfd):
    with catch_output() as caught:
        os.write(2, b"from a library\n")
        print("from Python")
    os.write(2, b"after\n")
    sys.stdout.flush()
    assert caught.text == "from a library\nfrom Python\n"
    out, err = capfd.readouterr()
    assert (out, err) == ("", "after\n")


def test_output_comes_back_after_an_error(capfd):
    with pytest.raises(ZeroDivisionError), catch_output():
        raise ZeroDivisionError
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"


def test_the_smallest_network_is_the_one_it_says():
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "i",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
    )
    model = onnx.load_from_string(IDENTITY_MODEL)
    onnx.checker.check_model(model)
    assert model.graph == graph


@pytest.mark.skipif(UNTESTABLE, reason="needs CUDA built in, and no GPU")
def test_without_a_gpu_cuda_gives_a_reason_and_prints_nothing(capfd):
    reason = why_cuda_does_not_start()
    assert ".so" in reason
    assert "\n" not in reason
    assert capfd.readouterr() == ("", "")


@pytest.mark.gpu
@pytest.mark.skipif(not nvidia_gpu_present(), reason="needs an NVIDIA GPU")
def test_with_a_gpu_and_its_libraries_cuda_starts():
    assert why_cuda_does_not_start() is None


@pytest.mark.skipif(UNTESTABLE, reason="needs CUDA built in, and no GPU")
def test_a_provider_that_does_not_start_is_skipped_with_its_reason(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("edge.backends.onnxruntime.nvidia_gpu_present", lambda: True)
    contract = bright_cell_contract()
    path = write_bright_cell_model(tmp_path / "m.onnx", contract)
    with OnnxRuntimeBackend(path, contract) as backend:
        assert backend.description.device == CPU
        (skipped,) = backend.description.skipped
    assert skipped.startswith("CUDAExecutionProvider: lib")
    assert "\n" not in skipped
    (warning,) = caplog.records
    assert "does not start: lib" in warning.getMessage()
    with pytest.raises(BackendError, match=r"CUDAExecutionProvider does not start: lib\w+\.so"):
        OnnxRuntimeBackend(path, contract, providers=[CUDA])
