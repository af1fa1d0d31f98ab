"""What benchmarks that train have in common: a folder, a recipe, a training that goes on, a score."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from commands import loomsight

from distill.checkpoint import count_macs, load_detector
from distill.data.dataset import load_dataset
from distill.data.tiles import TilePlan
from distill.evaluation.evaluate import validate


@contextmanager
def work_folder(asked: Path | None) -> Iterator[Path]:
    """Make the folder to work in: the one asked for, which stays, or a temporary one."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = (asked or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        yield folder


def toml(values: Mapping[str, Any]) -> str:
    """Write a recipe as TOML; what is None is left out, a dict becomes a table."""
    plain = {
        key: value for key, value in values.items() if value is not None and not isinstance(value, dict)
    }
    lines = [f"{key} = {json.dumps(value)}" for key, value in plain.items()]
    for key, value in values.items():
        if isinstance(value, dict):
            lines += [f"[{key}]", toml(value).rstrip("\n")]
    return "\n".join(lines) + "\n"


def train(folder: Path, name: str, data: str, recipe: str, *extra: str) -> Path:
    """Train one detector, unless it is done; go on with one that was interrupted.

    Args:
        name: of its run folder.
        data: folder of the data set.
        extra: flags of a fresh run.
    Returns:
        Its checkpoint.
    """
    run = folder / name
    if not (run / "metrics.json").is_file():
        (folder / f"{name}.toml").write_text(recipe, encoding="utf-8")
        is_started = (run / "last.pt").is_file()
        how = ("--resume",) if is_started else ("--recipe", f"{name}.toml", *extra)
        loomsight(folder, "distill", data, "--out", name, *how, log=folder / f"{name}.log")
        print(name, "is trained", flush=True)
    return run / "best.pt"


def score(unseen: Path, checkpoint: Path) -> dict[str, float]:
    """Measure a checkpoint on the val split of a data set that it has not seen."""
    detector = load_detector(checkpoint)
    contract = detector.contract
    data = load_dataset(unseen, contract.class_names)
    plan = TilePlan(data.val, contract, data.mm_per_px, cache_mb=1024)
    metrics = validate(detector.module, plan, contract, torch.device("cpu"))
    return {
        "map50": round(metrics.map50, 4),
        "map50_95": round(metrics.map50_95, 4),
        "macs": count_macs(detector.module, (contract.channels, *contract.input_size_hw_px)),
        "parameters": sum(parameter.numel() for parameter in detector.module.parameters()),
    }
