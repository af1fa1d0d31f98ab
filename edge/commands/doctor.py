"""Report what this device has, and what to do about what it lacks."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rich.console import Console

from edge.backends.probe import (
    available_cores,
    cpu_quota,
    nvidia_gpu_present,
    processor_features,
    processor_name,
)
from edge.backends.provider_start import CUDA, CUDA_LIBRARIES, cure_of
from edge.backends.registry import BACKENDS
from edge.bundle.opening import demo_bundle_path, open_bundle
from edge.cameras.registry import CAMERAS
from edge.commands.doctor_cameras import aravis_finding, basler_finding, video_finding
from edge.commands.doctor_uses import uses
from edge.commands.finding import DeviceFinding, print_findings
from edge.core.counted import counted, of_all
from edge.core.errors import LoomsightError
from edge.process.packages import (
    distribution_of,
    headless_opencv,
    install_again,
    install_module,
    install_package,
    repair,
)

CUDA_ROW = "ONNX Runtime on CUDA"

LEAST_FREE_GB = 2.0
"""Below this a day of defect images does not fit."""


def examine() -> list[DeviceFinding]:
    """Look at everything edge-run may use."""
    first, *others = (partial(_backend, name) for name in BACKENDS)
    checks: tuple[Callable[[], DeviceFinding], ...] = (
        _loomsight,
        _python,
        _processor,
        _quota,
        _memory,
        _disk,
        _opencv,
        first,
        _gpu,
        _cuda,
        *others,
        *(partial(_camera_package, kind.title, kind.package) for kind in CAMERAS.values() if kind.package),
        _basler,
        aravis_finding,
        _cameras,
        _model,
    )
    return [check() for check in checks]


def print_report(as_json: bool, *, is_measured: bool = True) -> bool:
    """Print what was found.

    Args:
        is_measured: whether the network is timed.
    Returns:
        True if edge-run can work on this device.
    """
    findings = [finding.without_secrets() for finding in (*examine(), *uses(is_measured=is_measured))]
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=1))
    else:
        print_findings(findings, Console(highlight=False))
    return all(finding.verdict != "broken" for finding in findings)


def _loomsight() -> DeviceFinding:
    installed = _version("loomsight") or "not installed as a package"
    return DeviceFinding("loomsight", "ok", f"{installed}, {Path(__file__).parents[2]}")


def _python() -> DeviceFinding:
    return DeviceFinding("system", "ok", f"Python {platform.python_version()}, {platform.platform()}")


def _processor() -> DeviceFinding:
    features = ", ".join(processor_features()) or "no vector features known"
    return DeviceFinding("processor", "ok", f"{processor_name()}, {_cores()}, {features}")


def _cores() -> str:
    """Say how many cores there are, and how many of them this process may use."""
    cores, available = os.cpu_count() or 1, available_cores()
    return counted(cores, "core") if available == cores else of_all(available, cores, "core")


def _quota() -> DeviceFinding:
    """Say how much time a control group leaves this process: a container can have less than a core."""
    quota, cores = cpu_quota(), os.cpu_count() or 1
    if quota is None or quota >= cores:
        return DeviceFinding("CPU quota", "ok", "none: control groups limit nothing")
    detail = f"{quota:.3g} of {counted(cores, 'core')}, by a control group"
    cure = "Give the container or the service more, if inspection is too slow (docker --cpus, CPUQuota=)."
    return DeviceFinding("CPU quota", "lacking", detail, cure)


def _memory() -> DeviceFinding:
    sizes = {line.split(":")[0]: int(line.split()[1]) / 2**20 for line in _lines(Path("/proc/meminfo"))}
    if "MemAvailable" not in sizes:
        return DeviceFinding("memory", "ok", "unknown")
    detail = f"{sizes['MemAvailable']:.1f} of {sizes['MemTotal']:.1f} GiB free"
    if sizes["MemAvailable"] < 1:
        return DeviceFinding(
            "memory", "lacking", detail, "End other programs: edge-run needs about 0.5 GiB."
        )
    return DeviceFinding("memory", "ok", detail)


def _disk() -> DeviceFinding:
    free_gb = shutil.disk_usage(".").free / 1e9
    detail = f"{free_gb:.1f} GB free in {Path.cwd()}"
    if free_gb < LEAST_FREE_GB:
        return DeviceFinding("disk", "lacking", detail, "Free space before images are saved here.")
    return DeviceFinding("disk", "ok", detail)


def _opencv() -> DeviceFinding:
    try:
        import cv2
    except ImportError as error:
        return DeviceFinding("OpenCV", "broken", str(error), headless_opencv())
    threads = min(cv2.getNumThreads(), available_cores())
    return DeviceFinding("OpenCV", "ok", f"{cv2.__version__}, {counted(threads, 'thread')}")


def _backend(name: str) -> DeviceFinding:
    """Look at a backend; only what every installation has is needed."""
    kind = BACKENDS[name]
    try:
        found = kind.load().installed()
    except (ImportError, OSError, RuntimeError) as error:
        return _backend_that_does_not_load(name, error)
    return DeviceFinding(kind.title, "ok", found.detail, found.cure)


def _backend_that_does_not_load(name: str, error: Exception) -> DeviceFinding:
    kind, detail = BACKENDS[name], " ".join(str(error).split())
    if kind.is_in_every_installation:
        return DeviceFinding(kind.title, "broken", detail, repair(name))
    if isinstance(error, ModuleNotFoundError):
        cure = f"{install_module(kind.package)} if edge-run --backend {name} or auto is to use it."
        return DeviceFinding(kind.title, "ok", "not installed", cure)
    return DeviceFinding(kind.title, "lacking", detail, install_again(kind.distributions[0]))


def _gpu() -> DeviceFinding:
    if not nvidia_gpu_present():
        return DeviceFinding("NVIDIA GPU", "lacking", "none", "Inference runs on the processor.")
    if not shutil.which("nvidia-smi"):
        return DeviceFinding("NVIDIA GPU", "ok", "present (no nvidia-smi to ask: a Jetson)")
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, check=True, timeout=20)
    except (subprocess.SubprocessError, OSError) as error:
        return DeviceFinding("NVIDIA GPU", "lacking", f"nvidia-smi: {error}", "Repair the NVIDIA driver.")
    return DeviceFinding("NVIDIA GPU", "ok", answer.stdout.strip())


def _cuda() -> DeviceFinding:
    """Tell a GPU that ONNX Runtime can use from one that is merely there."""
    if not nvidia_gpu_present():
        return DeviceFinding(CUDA_ROW, "ok", "not tried: no NVIDIA GPU")
    try:
        import onnxruntime

        from edge.backends.onnxruntime import why_cuda_does_not_start
    except ImportError as error:
        return DeviceFinding(CUDA_ROW, "lacking", str(error), "See the row ONNX Runtime.")
    built_in = CUDA in onnxruntime.get_available_providers()
    return cuda_finding(built_in, why_cuda_does_not_start() if built_in else None)


def cuda_finding(built_in: bool, reason: str | None) -> DeviceFinding:
    """Judge a device with an NVIDIA GPU.

    Args:
        built_in: ONNX Runtime was built with CUDA.
        reason: why the CUDA provider does not start; None if it does.
    """
    if not built_in:
        detail = "GPU present, but this ONNX Runtime was built without CUDA"
        return DeviceFinding(
            CUDA_ROW,
            "lacking",
            detail,
            f"{install_package(CUDA_LIBRARIES)}; on a Jetson, the wheel for its JetPack",
        )
    if reason:
        detail = f"GPU present, but the CUDA provider does not start: {reason}"
        return DeviceFinding(CUDA_ROW, "lacking", detail, cure_of(reason))
    return DeviceFinding(CUDA_ROW, "ok", "the CUDA provider starts")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _camera_package(title: str, package: str) -> DeviceFinding:
    """Name the version of what one kind of camera needs."""
    name = distribution_of(package)
    installed = _version(name)
    if installed is None:
        return DeviceFinding(name, "ok", "not installed", f"For {title} cameras: {install_module(package)}")
    return DeviceFinding(name, "ok", installed)


def _basler() -> DeviceFinding:
    if _version(distribution_of("pypylon")) is None:
        return DeviceFinding("Basler cameras", "ok", "not looked for without pypylon")
    return basler_finding()


def _cameras() -> DeviceFinding:
    return video_finding(sorted(Path("/dev").glob("video*")))


def _model() -> DeviceFinding:
    try:
        bundle = open_bundle(demo_bundle_path())
    except LoomsightError as error:
        return DeviceFinding("demo bundle", "broken", error.problem, error.cure)
    return DeviceFinding("demo bundle", "ok", f"{bundle.path}: digests hold")


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
