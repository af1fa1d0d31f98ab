"""Finish a run: measure its best checkpoint and write metrics and scorecard."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from distill.checkpoint import Detector, load_detector
from distill.core.run_folder import RunFolder
from distill.data.dataset import Dataset
from distill.data.tiles import TilePlan, ground_truth_batches
from distill.detector.build import count_macs, infer
from distill.evaluation.evaluate import found_and_ground_truth, metrics_of
from distill.evaluation.report import write_report
from distill.evaluation.scorecard import SCORECARD_NAME, Latency, ScorecardRow, append_row, measure_latency
from distill.evaluation.working_point import measure_working_point
from distill.settings.recipe import Recipe
from edge.core.errors import CheckpointError


@dataclass(frozen=True, slots=True)
class Summary:
    """Hold what a finished run is worth. The same stands in `metrics.json`."""

    map50: float
    map50_95: float
    ap50: dict[str, float]
    recall: float | None
    by_class: dict[str, tuple[int, int]]
    false_alarms: int
    false_alarms_per_clean_m2: float | None
    score_thresholds: dict[str, float]


def finish(dataset: Dataset, recipe: Recipe, folder: RunFolder, stage: str = "train") -> Summary:
    """Measure `best.pt` and write what was measured.

    Args:
        stage: its name in the scorecard.
    """
    summary, row = measured(dataset, recipe, folder.best, stage, report=folder.report)
    folder.write_json(folder.metrics, asdict(summary))
    append_row(folder.path / SCORECARD_NAME, row)
    return summary


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


def measured(
    dataset: Dataset, recipe: Recipe, checkpoint: Path, stage: str, report: Path | None = None
) -> tuple[Summary, ScorecardRow]:
    """Measure a checkpoint on the validation split, on the processor.

    Args:
        report: folder for confusion, curves and the worst mistakes; None writes none.
    Raises:
        CheckpointError: if it cannot be read.
        OutputError: if the report cannot be written.
    """
    detector = load_detector(checkpoint)
    contract = detector.contract
    plan = TilePlan(dataset.val, contract, dataset.mm_per_px, recipe.cache_mb)
    compared = found_and_ground_truth(detector.module, plan, contract, torch.device("cpu"))
    metrics = metrics_of(compared, contract.class_names)
    if report is not None:
        write_report(compared, plan, contract, report)
    working = measure_working_point(detector.module, plan, contract, dataset.mm_per_px)
    summary = Summary(
        map50=metrics.map50,
        map50_95=metrics.map50_95,
        ap50=metrics.ap50,
        recall=working.recall,
        by_class=working.by_class,
        false_alarms=working.false_alarms,
        false_alarms_per_clean_m2=working.false_alarms_per_clean_m2,
        score_thresholds=dict(contract.score_thresholds),
    )
    return summary, _row(detector, summary, plan, checkpoint.stat().st_size, stage)


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
