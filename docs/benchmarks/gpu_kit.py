"""Run one step of what a GPU is wanted for, and write its JSON; `gpu_kit.sh` calls it.

Usage: python docs/benchmarks/gpu_kit.py STEP --folder FOLDER [--smallest]

What a step has done already stays in the folder: the same call goes on with the rest. With --smallest all
of it is so small that a processor does it in seconds, and stands in for a GPU where there is none.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import torch
from commands import BENCHMARKS, LOOMSIGHT
from device_clahe import network_input
from gpu_kit_commands import limited, run
from gpu_kit_models import BundleOnBackend, bundles, compared_models, edge_bench, latency_ms
from training import toml

from edge.backends.probe import available_cores, nvidia_gpu_present, processor_name
from edge.backends.provider_start import CPU, CUDA

PACKAGES: Final[Mapping[str, str]] = {
    "torch": "2.15.0 with CUDA: what PyPI has for Linux",
    "torchvision": "0.29.2 or later",
    "ultralytics": "8.4.190",
    "onnxruntime-gpu": "1.31.1, with CUDA and cuDNN: pip install 'onnxruntime-gpu[cuda,cudnn]==1.31.1'",
    "tensorrt": "11.4.0.106 for a data centre or workstation; from JetPack on a Jetson",
    "tensorrt-rtx": "1.7.1.116 for GeForce and RTX, in place of tensorrt",
    "pycuda": "2026.1; it is compiled: CUDA toolkit (nvcc) and g++",
    "cuda-python": "12.6 or later, for CUDA graphs with a fixed batch",
    "pytest": "for the step tests",
}
"""What such a machine may lack, with the versions that this was written for."""

TENSORRT_TESTS: Final = ("test_tensorrt.py", "test_provider_start.py")
GIB: Final = 2**30


@dataclass(frozen=True)
class Size:
    """Say how large everything is.

    Attributes:
        teacher, student: scales of YOLOv5.
        repeats: of each timing.
        precision: of the training; None for what the device has.
    """

    teacher: str = "l"
    student: str = "s"
    input_px: int = 640
    images: int = 320
    epochs: int = 3
    batch: int = 16
    workers: int = 8
    repeats: int = 200
    precision: str | None = "amp"
    bench: tuple[str, ...] = ("--frames", "40", "--rounds", "3", "--idle-seconds", "1")


SMALLEST: Final = Size(
    teacher="p", student="p", input_px=64, images=8, epochs=1, batch=4, workers=0, repeats=3,
    precision=None,
    bench=("--frames", "2", "--rounds", "1", "--idle-seconds", "0"),
)  # fmt: skip


def main() -> None:
    """Run the step that was named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("step", choices=[*STEPS, "packages"])
    parser.add_argument("--folder", type=Path, default=Path("runs/gpu-kit"))
    parser.add_argument("--smallest", action="store_true")
    parser.add_argument("--limit-s", type=int, default=540)
    arguments = parser.parse_args()
    if arguments.step == "packages":
        print_packages()
        return
    if not (nvidia_gpu_present() or arguments.smallest):
        sys.exit("There is no NVIDIA GPU here: --smallest tries the script on the processor.")
    folder = arguments.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    began_s = time.monotonic()
    try:
        with limited(arguments.limit_s):
            result = STEPS[arguments.step](folder, SMALLEST if arguments.smallest else Size())
    except KeyboardInterrupt:
        print(f"{arguments.step} was cut short: the same command goes on with it", file=sys.stderr)
        sys.exit(130)
    said = {
        "step": arguments.step,
        "smallest": arguments.smallest,
        "measured_on": measured_on(),
        "seconds": round(time.monotonic() - began_s, 1),
        **result,
    }
    file = folder / f"{arguments.step}.json"
    file.with_suffix(".part").write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")
    file.with_suffix(".part").replace(file)
    print(f"{arguments.step}: {result.get('skipped') or 'done'}, see {file}")


def data(folder: Path, size: Size) -> dict[str, Any]:
    """Weave the images to train on, unless they are there."""
    if not (folder / "images").is_dir():
        side = str(max(size.input_px, 128))
        run(
            folder, LOOMSIGHT, "simulate", "--out", "images", "--images", str(size.images), "--seed", "31",
            "--split", "train=0.9,val=0.1" if size.images > 20 else "train=0.5,val=0.5",
            "--size-hw", side, side, "--mm-per-px", "0.2", "--defects-per-m", "25", "--defect-share", "1.0",
            "--workers", str(max(1, size.workers)),
        )  # fmt: skip
    return {"images": size.images}


def train(folder: Path, size: Size) -> dict[str, Any]:
    """Train teacher, student alone and student under the teacher; each is a run of `loomsight distill`."""
    data(folder, size)
    teacher, student = f"YOLOv5{size.teacher}", f"YOLOv5{size.student}"
    rows = {
        teacher: trained(folder, size, "teacher", size.teacher),
        f"{student} alone": trained(folder, size, "student", size.student),
        f"{student} under {teacher}": trained(
            folder, size, "taught", size.student, "--teacher", "teacher/best.pt"
        ),
    }
    return {"input_px": size.input_px, "batch": size.batch, "rows": rows}


def trained(folder: Path, size: Size, name: str, scale: str, *flags: str) -> dict[str, Any]:
    """Train one detector, unless it is done, and say how fast that went.

    Returns:
        Images a second of the fastest epoch, validation included; the most memory of the GPU that was
        allocated (None on a processor, or where an earlier call did part of it).
    """
    out, memory = folder / name, folder / f"{name}-memory.json"
    if not (out / "metrics.json").is_file():
        is_started = (out / "last.pt").is_file()
        (folder / f"{name}.toml").write_text(recipe(size, scale, is_taught=bool(flags)), encoding="utf-8")
        how = ("--resume",) if is_started else ("--recipe", f"{name}.toml", *flags)
        run(folder, WITH_MEMORY, str(memory), "distill", "images", "--out", name, *how)
    epochs = [json.loads(line) for line in (out / "history.jsonl").read_text().splitlines()]
    used = json.loads(memory.read_text())["bytes"] if memory.is_file() else None
    return {
        "images_per_s": round(max(row["tiles"] / max(row["seconds"], 0.01) for row in epochs), 2),
        "epochs": len(epochs),
        "memory_gib": round(used / GIB, 2) if used else None,
        "last_loss": round(epochs[-1]["loss"], 3),
    }


TORCHRUN: Final = "from torch.distributed.run import main; main()"
DOCTOR: Final = "from edge.commands.doctor_cli import main; main()"

WITH_MEMORY: Final = """
import atexit, json, pathlib, sys
def note(file=pathlib.Path(sys.argv.pop(1))):
    torch = sys.modules.get("torch")
    used = torch.cuda.max_memory_allocated() if torch and torch.cuda.is_available() else 0
    file.write_text(json.dumps({"bytes": used}))
atexit.register(note)
""" + LOOMSIGHT.replace("; ", "\n")
"""A command of `loomsight` that leaves a file with the most memory of the GPU it had."""


def recipe(size: Size, scale: str, *, is_taught: bool) -> str:
    """Write the recipe of a training; for its speed, a teacher that has learnt little is one, too."""
    values: dict[str, Any] = {
        "scale": scale, "input_size_hw_px": [size.input_px] * 2, "overlap_px": size.input_px // 10,
        "epochs": size.epochs, "batch": size.batch, "workers": size.workers, "precision": size.precision,
        "empty_tile_share": 1.0, "cache_mb": 8192,
    }  # fmt: skip
    return toml({**values, "distillation": {"least_teacher_map50": 0} if is_taught else None})


def torchrun(folder: Path, size: Size) -> dict[str, Any]:
    """Train the student by torchrun with one process, and run the collective operations by themselves."""
    data(folder, size)
    if not (folder / "by-torchrun" / "metrics.json").is_file():
        (folder / "by-torchrun.toml").write_text(recipe(size, size.student, is_taught=False))
        is_started = (folder / "by-torchrun" / "last.pt").is_file()
        run(
            folder, TORCHRUN, "--standalone", "--nproc-per-node", "1",
            "-m", "distill.commands.distill_cli", "images", "--out", "by-torchrun",
            *(("--resume",) if is_started else ("--recipe", "by-torchrun.toml")),
        )  # fmt: skip
    return {"row": trained(folder, size, "by-torchrun", size.student), "collectives": collectives(size)}


def collectives(size: Size) -> dict[str, Any]:
    """Time what processes do together, in a group of one: an all-reduce of as many numbers as a teacher."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    backend = "nccl" if device.type == "cuda" else "gloo"
    store = torch.distributed.HashStore()  # type: ignore[attr-defined]
    torch.distributed.init_process_group(backend, store=store, rank=0, world_size=1)
    try:
        numbers = torch.ones(46_000_000 if size.teacher == "l" else 100_000, device=device)
        milliseconds = latency_ms(lambda: torch.distributed.all_reduce(numbers), size.repeats)
        return {"backend": backend, "numbers": len(numbers), "all_reduce_ms": milliseconds}
    finally:
        torch.distributed.destroy_process_group()


def onnxruntime(folder: Path, size: Size) -> dict[str, Any]:
    """Compare ONNX Runtime on CUDA with the processor, for the shipped bundle and the student."""
    provider = CUDA if nvidia_gpu_present() else CPU
    rows = {
        name: compared_models(BundleOnBackend("onnxruntime", bundle, (provider,)), size.repeats)
        for name, bundle in bundles(folder).items()
    }
    return {"provider": provider, "rows": rows, "edge_bench": edge_bench(folder, "onnxruntime", size.bench)}


def tensorrt(folder: Path, size: Size) -> dict[str, Any]:
    """Build an engine and run it; without its packages say which are missing."""
    libraries = [name for name in ("tensorrt", "tensorrt-rtx") if installed(name)]
    if not libraries:
        return {"skipped": "skipped: neither tensorrt nor tensorrt-rtx is installed"}
    has_gpu = nvidia_gpu_present()
    if not has_gpu and "tensorrt-rtx" not in libraries:
        return {"skipped": "skipped: without a GPU only tensorrt-rtx builds, and it is not installed"}
    where = () if has_gpu else ("--for", "sm86")
    built = {}
    for name, bundle in bundles(folder).items():
        began_s = time.monotonic()
        run(folder, DOCTOR, "--build", "--model", str(bundle), "--batch", "8", *where)
        built[name] = {"build_s": round(time.monotonic() - began_s, 1)}
    result: dict[str, Any] = {"libraries": {name: version(name) for name in libraries}, "engines": built}
    if not has_gpu:
        return {**result, "not_run": "engines were built for sm86; to run one takes a GPU"}
    if not installed("pycuda"):
        return {**result, "not_run": "pycuda is not installed"}
    for name, bundle in bundles(folder).items():
        built[name] |= compared_models(BundleOnBackend("tensorrt", bundle), size.repeats)
    return {**result, "edge_bench": edge_bench(folder, "tensorrt", size.bench)}


def preprocess(folder: Path, size: Size) -> dict[str, Any]:
    """Compare CLAHE and normalisation of a frame's tiles on the device with OpenCV on the processor."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    tiles = np.random.default_rng(0).normal(120, 30, (8, size.input_px, size.input_px))
    tiles = np.clip(tiles, 0, 255).astype(np.uint8)
    by_opencv = cv2.createCLAHE(2.0, (8, 8))

    def on_processor() -> Any:
        return np.stack([by_opencv.apply(tile) for tile in tiles])[:, None] * np.float32(1 / 255)

    def on_device() -> torch.Tensor:
        return network_input(torch.from_numpy(tiles).to(device), 2.0, (8, 8))

    off = np.abs(on_processor() - on_device().cpu().numpy()) * 255
    return {
        "device": device.type,
        "tiles": len(tiles),
        "input_px": size.input_px,
        "most_grey_levels_off": round(float(off.max()), 3),
        "pixels_off": float((off > 0.5).mean()),
        "processor_ms": latency_ms(on_processor, size.repeats),
        "device_ms_with_upload": latency_ms(on_device, size.repeats),
    }


def tests(folder: Path, size: Size) -> dict[str, Any]:
    """Run the tests that need a GPU; without one they say so."""
    places = [str(BENCHMARKS.parents[1] / "tests/unit/edge/backends" / name) for name in TENSORRT_TESTS]
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", "-rs", *places]
    done = subprocess.run(command, cwd=BENCHMARKS.parents[1], capture_output=True, text=True)
    (folder / "tests.log").write_text(done.stdout + done.stderr)
    counts = {
        what: int(count) for count, what in re.findall(r"(\d+) (passed|failed|skipped|error)", done.stdout)
    }
    return {"exit_code": done.returncode, "counts": counts, "log": "tests.log"}


def measured_on() -> dict[str, Any]:
    """Say on what this was measured."""
    has_cuda = torch.cuda.is_available()
    return {
        "gpu": torch.cuda.get_device_name() if has_cuda else None,
        "gpu_memory_gib": round(torch.cuda.get_device_properties(0).total_memory / GIB, 1)
        if has_cuda
        else None,
        "cuda": torch.version.cuda,
        "processor": processor_name(),
        "cores": available_cores(),
        "versions": {name: version(name) for name in PACKAGES if installed(name)},
    }


def installed(name: str) -> bool:
    """Tell whether a distribution is installed."""
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def print_packages() -> None:
    """Print what is installed of the packages that such a machine may lack."""
    for name, wanted in PACKAGES.items():
        has = version(name) if installed(name) else "not installed"
        print(f"{name:16} {has:14} written for {wanted}")


STEPS: Final[Mapping[str, Callable[[Path, Size], dict[str, Any]]]] = {
    "data": data,
    "train": train,
    "torchrun": torchrun,
    "onnxruntime": onnxruntime,
    "tensorrt": tensorrt,
    "preprocess": preprocess,
    "tests": tests,
}
"""In order of worth."""


if __name__ == "__main__":
    main()
