"""Prune: plan, cut, check, recover and measure, once or step by step.

Whatever is done stands in the folder under its final name, whole, so that a run that was killed goes on
with the first thing that is missing.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path

import torch

from distill.checkpoint import Checkpoint, Detector, load_detector, write_checkpoint
from distill.core.processes import Processes
from distill.data.dataset import Dataset
from distill.data.simulated import rehearsed
from distill.data.tiles import TilePlan, ground_truth_batches
from distill.evaluation.report import inspected
from distill.evaluation.scorecard import ScorecardRow, ancestry_of, append_row, read_rows
from distill.evaluation.working_point import TorchBackend
from distill.prune.apply import cut
from distill.prune.candidates import CutSamples, best_plan, samples_of
from distill.prune.check import check_cut
from distill.prune.folder import PruneFolder
from distill.prune.latency import FastEnoughError
from distill.prune.norms import with_norms_measured
from distill.prune.outcome import UNPRUNED
from distill.prune.page import write_prune_page
from distill.prune.plan import PruningPlan, read_plan, write_plan
from distill.prune.planning import macs_of, plans_of_step
from distill.prune.recover import recovered_name, stage_of
from distill.prune.settings import PruneSettings
from distill.prune.stage_times import time_stages
from distill.settings.recipe import Recipe
from distill.training.finish import measure
from distill.training.stages import row_of, run_stage
from distill.training.teacher_check import check_has_learnt
from edge.backends.protocol import Floats
from edge.core.errors import ConfigError, PruningError
from edge.core.files import file_digest, write_whole
from edge.core.taxonomy import Taxonomy

logger = logging.getLogger(__name__)

TIMED_TILES = 8


@dataclass(frozen=True, slots=True)
class Pruning:
    """Hold what a pruning works with.

    Attributes:
        source: the checkpoint that is pruned; it is only read.
        recipe: of each recovery.
        first_plans: of the first step, where they were made already.
    """

    settings: PruneSettings
    folder: PruneFolder
    source: Path
    recipe: Recipe
    dataset: Dataset
    taxonomy: Taxonomy
    device: torch.device
    first_plans: tuple[PruningPlan, ...] = ()


def prune(work: Pruning) -> bool:
    """Prune until the target is reached; `best.pt` is in the folder at the end, and not before.

    Returns:
        False if a signal stopped it: it can be resumed.
    Raises:
        ConfigError: if the target is out of reach.
        PruningError: if a cut is not as planned, or the first one loses more than may be lost.
        LoomsightError: as `distill.training.train.train`.
    """
    source = load_detector(work.source)
    unpruned = _measure_once(work, UNPRUNED, work.source)
    good, steps = work.source, work.settings.most_steps
    here = Processes(device=work.device)
    if work.settings.teacher is not None:
        teacher = Path(work.settings.teacher)
        check_has_learnt(teacher, work.dataset, work.recipe, work.folder.scorecard, here)
    to_learn_from = _with_rehearsal(work)
    for step in range(1, steps + 1):
        try:
            _cut_once(work, step, good, source)
        except ConfigError as error:
            is_end = work.settings.drop is not None or isinstance(error, FastEnoughError)
            if good == work.source or not is_end:
                raise
            logger.info("step %d ends it: %s", step, error.problem)
            break
        _measure_once(work, cut_name(step), work.folder.cut(step))
        stage = stage_of(work.settings, work.recipe, source.checkpoint, work.source, work.folder, step)
        if not run_stage(stage, to_learn_from, work.taxonomy, here, work.folder.scorecard):
            return False
        if _falls_too_far(work.settings, unpruned, row_of(stage)):
            logger.info("step %d lost more than may be lost; the one before it is kept", step)
            break
        good = stage.folder.best
    if good == work.source:
        raise _first_step_failed(work, unpruned)
    _publish(work, good)
    return True


def _with_rehearsal(work: Pruning) -> Dataset:
    """Return the data set that recoveries learn from, with simulated cloth where the recipe asks for it."""
    data, recipe = work.dataset, work.recipe
    if recipe.rehearsal is None:
        return data
    scale = data.mm_per_px or recipe.mm_per_px
    return rehearsed(data, recipe.rehearsal, scale, work.folder.rehearsal, work.taxonomy)


def cut_name(step: int) -> str:
    """Name a detector before its recovery in the scorecard."""
    return f"cut-{step}"


def rows_of_pruning(folder: PruneFolder) -> list[ScorecardRow]:
    """Return the rows of a pruning in the order of its steps."""
    return read_rows(folder.scorecard)


def _cut_once(work: Pruning, step: int, good: Path, source: Detector) -> None:
    """Plan a step and cut what the one before it left, unless that is done."""
    folder = work.folder
    if folder.cut(step).is_file():
        return
    samples = samples_of(work.dataset, work.recipe, source.contract)
    detector = source if good == work.source else load_detector(good)
    if not folder.plan(step).is_file():
        left = work.settings.most_steps - step + 1
        made = work.first_plans if step == 1 else ()
        plans = made or plans_of_step(
            detector, work.settings, folder.latency_table, source_macs=macs_of(source), steps_left=left
        )
        plan, candidates = best_plan(detector, plans, samples, work.device)
        folder.write_json(folder.candidates(step), [row.model_dump(mode="json") for row in candidates])
        write_plan(plan, folder.plan(step))
    write_cut(detector, read_plan(folder.plan(step)), folder.cut(step), samples, work.device)


def write_cut(
    detector: Detector, plan: PruningPlan, file: Path, samples: CutSamples, device: torch.device
) -> None:
    """Carry out a plan, check the result, measure its norms again and write it.

    Raises:
        ConfigError: if the plan is of another structure.
        PruningError: if the result is not as planned.
    """
    checkpoint = detector.checkpoint
    module, structure = cut(detector.module, checkpoint.structure, plan)
    check = check_cut(detector.module, plan, module, structure, detector.contract)
    logger.info(
        "%s: %.2f of the MACs, %.2f M of %.2f M parameters; differs from the masked one by %.1e",
        file.name,
        check.macs / check.macs_before,
        check.parameters / 1e6,
        check.parameters_before / 1e6,
        check.largest_difference,
    )
    measured_again = with_norms_measured(module, samples.norms, detector.contract, device).cpu()
    weights = measured_again.state_dict()
    write_checkpoint(file, Checkpoint(structure, weights, detector.contract, checkpoint.recipe))


def _measure_once(work: Pruning, name: str, checkpoint: Path) -> ScorecardRow:
    """Return the scorecard row of a checkpoint on this data set; measure it if there is none."""
    digest = file_digest(checkpoint)
    for row in rows_of_pruning(work.folder):
        if row.stage == name and row.checkpoint_digest == digest:
            return row
    row = measure(work.dataset, work.recipe, checkpoint, name).row
    append_row(work.folder.scorecard, row)
    return row


def _falls_too_far(settings: PruneSettings, unpruned: ScorecardRow, row: ScorecardRow | None) -> bool:
    if settings.drop is None or row is None:
        return False
    return 100 * _lost(unpruned, row) > settings.drop


def _lost(unpruned: ScorecardRow, row: ScorecardRow) -> float:
    return (unpruned.map50_95 or 0.0) - (row.map50_95 or 0.0)


def _first_step_failed(work: Pruning, unpruned: ScorecardRow) -> PruningError:
    rows = [row for row in rows_of_pruning(work.folder) if row.stage == recovered_name(1)]
    lost = 100 * _lost(unpruned, rows[-1])
    return PruningError(
        f"The first cut already loses {lost:.2f} points of mAP50-95 after its recovery.",
        "Allow a greater --drop, recover longer with --epochs, or name a fraction with --macs.",
    )


def _publish(work: Pruning, good: Path) -> None:
    """Put the last good detector, what it is worth and how it compares where they are looked for."""
    folder = work.folder
    if folder.best.is_file() and file_digest(folder.best) == file_digest(good):
        return
    times = time_stages(_files_of_stages(work), work.settings, _tiles(work))
    folder.write_json(folder.latency, times.model_dump())
    write_prune_page(
        folder, rows_of_pruning(folder), times, work.settings, _report_on(work, good), file_digest(good)
    )
    write_whole(folder.metrics, (good.parent / folder.metrics.name).read_bytes())
    write_whole(folder.best, good.read_bytes())


def _report_on(work: Pruning, checkpoint: Path) -> list[str]:
    """Return what a detector reports on the validation split, as sections of a page."""
    detector, data = load_detector(checkpoint), work.dataset
    plan = TilePlan(data.val, detector.contract, data.mm_per_px, work.recipe.cache_mb)
    return inspected(TorchBackend(detector.module), plan, detector.contract, data.mm_per_px)[1]()


def _files_of_stages(work: Pruning) -> dict[str, Path]:
    """Return the checkpoints of different widths by the stage that left them."""
    files = {
        recovered_name(step): work.folder.step(step).best for step in range(1, work.settings.most_steps + 1)
    }
    return {UNPRUNED: work.source, **{name: file for name, file in files.items() if file.is_file()}}


def _tiles(work: Pruning) -> Floats:
    """Return a few tiles of the validation split, (N, channels, H, W)."""
    contract = load_detector(work.source).contract
    plan = TilePlan(work.dataset.val, contract, work.dataset.mm_per_px, work.recipe.cache_mb)
    tiles, _ = next(ground_truth_batches(plan, contract, batch=min(TIMED_TILES, len(plan.tiles))))
    return tiles


def write_source(folder: PruneFolder, source: Path) -> None:
    """Note which checkpoint is pruned, and what it came from."""
    rows = ancestry_of(source)
    if rows:
        text = "".join(f"{row.model_dump_json()}\n" for row in rows)
        write_whole(folder.ancestry, text.encode())
    record = {"checkpoint": str(source), "sha256": file_digest(source)}
    folder.write_json(folder.source, record)


def check_source(folder: PruneFolder, source: Path) -> None:
    """See that a run goes on with the checkpoint it was started with.

    Raises:
        ConfigError: if not, or the note cannot be read.
    """
    try:
        known = json.loads(folder.source.read_bytes())["sha256"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ConfigError(
            f"{folder.source} cannot be read.", "Start a new run with another --out."
        ) from error
    if known != file_digest(source):
        raise ConfigError(
            f"The run in {folder.path} prunes another checkpoint than {source}.",
            "Name that one, or start a new run with another --out.",
        )
