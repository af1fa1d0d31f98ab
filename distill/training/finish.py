"""Finish a run: measure its best checkpoint and write metrics, scorecard and page."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from distill.checkpoint import Detector, load_detector
from distill.core import run_page
from distill.core.run_folder import RunFolder
from distill.data.dataset import Dataset
from distill.data.tiles import TilePlan, ground_truth_batches
from distill.detector.build import count_macs, infer
from distill.evaluation.confusion import NOTHING
from distill.evaluation.evaluate import validate
from distill.evaluation.report import inspected
from distill.evaluation.scorecard import SCORECARD_NAME, Latency, ScorecardRow, append_row, measure_latency
from distill.evaluation.working_point import TorchBackend
from distill.settings.recipe import Recipe
from distill.training.curves import curves_section, since_first_epoch
from edge.core.errors import CheckpointError


@dataclass(frozen=True, slots=True)
class Summary:
    """Hold what a finished run is worth. The same stands in `metrics.json`."""

    map50: float
    map50_95: float
    ap50: dict[str, float]
    recall: float | None
    by_class: dict[str, tuple[int, int]]
    named: int
    false_alarms: int
    false_alarms_per_clean_m2: float | None
    score_thresholds: dict[str, float]
    confusion: dict[str, list[Any]]


@dataclass(frozen=True, slots=True)
class Measured:
    """Hold what was measured of a checkpoint.

    Attributes:
        sections: draws those of a page, as HTML: what it reports on the validation split, what it misses.
    """

    summary: Summary
    row: ScorecardRow
    sections: Callable[[], list[str]]


def finish(
    dataset: Dataset, recipe: Recipe, folder: RunFolder, stage: str = "train", results: Sequence[str] = ()
) -> Summary:
    """Measure `best.pt` and write what was measured, as numbers and as a page.

    Args:
        stage: its name in the scorecard.
        results: lines that say what the training was worth; empty: how far it came since its first epoch.
    """
    measured = measure(dataset, recipe, folder.best, stage)
    write_run_page(folder, recipe, measured, results)
    folder.write_json(folder.metrics, asdict(measured.summary))
    append_row(folder.path / SCORECARD_NAME, measured.row)
    return measured.summary


def write_run_page(folder: RunFolder, recipe: Recipe, measured: Measured, results: Sequence[str]) -> None:
    """Write the page of a run: what came of it, curves, what is found and missed, and what it costs.

    Raises:
        OutputError: if it cannot be written.
    """
    history = folder.read_history()
    lines = [run_page.result(line) for line in results or [since_first_epoch(history)]]
    parts = [*lines, curves_section(history), *measured.sections(), _costs(measured.row, recipe)]
    run_page.write_page(folder.page, f"{measured.row.stage}: {folder.path.name}", parts)


def _costs(row: ScorecardRow, recipe: Recipe) -> str:
    latency = "—" if row.latency is None else f"{row.latency.p50_ms:.1f} ms on {row.latency.runtime}"
    costs = [
        ("weights", f"{row.parameters / 1e6:.2f} million"),
        ("MACs of one input", f"{row.macs / 1e6:.1f} million"),
        ("file", f"{row.file_size_bytes / 1e6:.2f} MB"),
        ("one input, typical", latency),
        ("input", " x ".join(map(str, recipe.input_size_hw_px)) + " px"),
        ("checkpoint", row.checkpoint_digest),
    ]
    return run_page.section("The detector", run_page.table(("what", "value"), costs))


def read_summary(folder: RunFolder) -> Summary:
    """Read what `finish` wrote.

    Raises:
        CheckpointError: if it is missing or damaged.
    """
    try:
        return Summary(**json.loads(folder.metrics.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise CheckpointError(
            f"{folder.metrics} cannot be read.", "Start a new run with another --out."
        ) from error


def measure(dataset: Dataset, recipe: Recipe, checkpoint: Path, stage: str) -> Measured:
    """Measure a checkpoint on the validation split, on the processor.

    Raises:
        CheckpointError: if it cannot be read.
    """
    detector = load_detector(checkpoint)
    contract = detector.contract
    plan = TilePlan(dataset.val, contract, dataset.mm_per_px, recipe.cache_mb)
    metrics = validate(detector.module, plan, contract, torch.device("cpu"))
    point, sections = inspected(TorchBackend(detector.module), plan, contract, dataset.mm_per_px)
    summary = Summary(
        map50=metrics.map50,
        map50_95=metrics.map50_95,
        ap50=metrics.ap50,
        recall=point.recall,
        by_class=point.by_class,
        named=point.named,
        false_alarms=point.false_alarms,
        false_alarms_per_clean_m2=point.false_alarms_per_clean_m2,
        score_thresholds=dict(contract.score_thresholds),
        confusion={"names": [*point.class_names, NOTHING], "true_by_reported": point.confusion.tolist()},
    )
    row = _row(detector, summary, plan, checkpoint.stat().st_size, stage)
    return Measured(summary, row, sections)


def _row(
    detector: Detector, summary: Summary, plan: TilePlan, file_size_bytes: int, stage: str
) -> ScorecardRow:
    height, width = detector.contract.input_size_hw_px
    return ScorecardRow(
        stage=stage,
        parameters=sum(p.numel() for p in detector.module.parameters()),
        macs=count_macs(detector.module, (detector.contract.channels, height, width)),
        file_size_bytes=file_size_bytes,
        map50=summary.map50,
        map50_95=summary.map50_95,
        recall=summary.recall,
        false_alarms_per_clean_m2=summary.false_alarms_per_clean_m2,
        latency=_latency(detector, plan),
        checkpoint_digest=detector.file_digest,
    )


def _latency(detector: Detector, plan: TilePlan) -> Latency:
    tiles, _ = next(ground_truth_batches(plan, detector.contract, batch=min(16, len(plan.tiles))))
    with torch.inference_mode():
        return measure_latency(
            lambda tile: infer(detector.module, torch.from_numpy(tile)),
            tiles,
            runtime=f"torch {torch.__version__}",
            device="cpu",
            precision="float32",
        )
