"""Label, teach, label again: until the asked rounds are done or nobody gets better."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.core.run_folder import RunFolder
from distill.labels.engine.calibrating import Calibrated, ReviewedImage
from distill.labels.engine.job import Job
from distill.labels.engine.judging import Change, Quality, mean_average_precision, quality_of
from distill.labels.engine.region_lines import region_from
from distill.labels.engine.registry import ANNOTATORS
from distill.labels.engine.reliability import RIGHT_RULE
from distill.labels.engine.settings import AnnotatorSpec
from distill.labels.engine.shards import ShardFolder
from distill.labels.engine.training_set import TrainingSet, counts_of, training_set
from distill.labels.sets.annotations import Region
from edge.core.errors import OutputError
from edge.core.files import write_whole

log = logging.getLogger(__name__)

DATASET = "dataset"
REPORT = "report.json"


@dataclass(frozen=True)
class Round:
    """Hold what a round has brought.

    Attributes:
        number: from 1.
        specs: who was asked.
        answers: to the images, by annotator.
        reviewed_answers: to the reviewed images.
        learnt: calibrations, weights, thresholds.
        decided: what came out, in shards.
    """

    number: int
    specs: tuple[AnnotatorSpec, ...]
    answers: Mapping[str, ShardFolder]
    reviewed_answers: Mapping[str, ShardFolder]
    learnt: Calibrated
    decided: ShardFolder


def run_rounds(job: Job, rounds: int, fractions: Mapping[str, float], *, links: bool) -> Path:
    """Run a job to its end; what is there of it already is not done again.

    Args:
        job: what to label, and how.
        rounds: most rounds; the second and later ones teach annotators first.
        fractions: of the splits, where there is no reviewed set.
        links: hard links in place of copies of images.
    Returns:
        The folder of the last round that was worth it.
    Raises:
        StoppedError: if a signal asked to stop.
    """
    last = _labelled(job, 1, job.settings.annotators, fractions, links=links, before=None)
    for number in range(2, rounds + 1):
        specs, trainings = _taught_specs(job, last, number)
        if specs == last.specs:
            _write_report(job.round_folder(number), {"round": number, "taught": trainings})
            log.info(
                "round %d: nobody got better on the reviewed split: round %d stands", number, last.number
            )
            break
        last = _labelled(job, number, specs, fractions, links=links, before=last, trainings=trainings)
    return job.round_folder(last.number)


def _labelled(
    job: Job,
    number: int,
    specs: Sequence[AnnotatorSpec],
    fractions: Mapping[str, float],
    *,
    links: bool,
    before: Round | None,
    trainings: Mapping[str, Any] | None = None,
) -> Round:
    """Run a round: ask, calibrate, decide, write the data set and the report."""
    reviewed_answers = job.ask_about_reviewed(specs)
    answers = job.ask(specs)
    learnt = job.calibrate(reviewed_answers)
    for note in learnt.notes if before is None else ():
        log.warning("%s", note)
    decided = job.decide(number, answers, learnt)
    done = Round(number, tuple(specs), answers, reviewed_answers, learnt, decided)
    folder = job.round_folder(number)
    made = training_set(
        decided, job.catalogue.root, job.taxonomy.classes, job.reviewed, fractions, job.mm_per_px
    )
    left_out = _write_dataset(made, folder, links=links)
    counts = counts_of(decided, made.missing_in(folder / DATASET))
    report = {"round": number, **counts, **_quality(job, done), "not_written": dict(left_out)}
    if before is not None:
        report |= {"taught": dict(trainings or {}), "change": _change(before.decided, decided).model_dump()}
    _write_report(folder, report)
    return done


def _write_dataset(made: TrainingSet, folder: Path, *, links: bool) -> Mapping[str, str]:
    """Write the data set folder, unless it stands there: a person may have reviewed in it since.

    Returns:
        What was not written, file -> one line; if it stands there already, what its report says.
    """
    if not (folder / DATASET).is_dir():
        return made.write(folder / DATASET, links=links).left_out
    if not (folder / REPORT).is_file():
        return {}
    left_out: Mapping[str, str] = read_report(folder).get("not_written", {})
    return left_out


def _taught_specs(
    job: Job, last: Round, number: int
) -> tuple[tuple[AnnotatorSpec, ...], dict[str, dict[str, Any]]]:
    """Teach who can be taught, and keep who is then better on the judging split."""
    dataset = job.round_folder(last.number) / DATASET
    specs, trainings = [], {}
    for spec in last.specs:
        if not spec.is_teachable:
            specs.append(spec)
            continue
        log.info("round %d: teach %s on %s", number, spec.name, dataset)
        folder = RunFolder(job.round_folder(number) / "taught" / spec.name)
        candidate = ANNOTATORS[spec.kind].load().taught(spec, dataset, job, folder)
        before, after = (_map50(job, one) for one in (spec, candidate))
        is_better = after > before
        specs.append(candidate if is_better else spec)
        trainings[spec.name] = {
            "map50_before": round(before, 4), "map50_after": round(after, 4), "is_better": is_better,
            "model": candidate.model,
        }  # fmt: skip
        log.info("round %d: %s mAP50 %.3f -> %.3f", number, spec.name, before, after)
    return tuple(specs), trainings


def _map50(job: Job, spec: AnnotatorSpec) -> float:
    answers = job.ask_about_reviewed([spec])
    opinion = job.opinion(Calibrated())
    return mean_average_precision(spec.name, opinion, _judging(job, answers), job.taxonomy)


def _judging(job: Job, answers: Mapping[str, ShardFolder]) -> list[ReviewedImage]:
    return job.reviewed.images(job.reviewed.judging_split, answers) if job.reviewed else []


def _quality(job: Job, done: Round) -> dict[str, Any]:
    """Say how far this round can be believed: by the reviewed images that judge."""
    if job.reviewed is None:
        return {"calibration": {"notes": list(done.learnt.notes)}}
    images = _judging(job, done.reviewed_answers)
    opinion = job.opinion(done.learnt)
    maps = {
        spec.name: round(mean_average_precision(spec.name, opinion, images, job.taxonomy), 4)
        for spec in done.specs
        if ANNOTATORS[spec.kind].names_classes
    }
    return {
        "judged_on": {"split": job.reviewed.judging_split, "images": len(images)},
        "right_means": RIGHT_RULE,
        "accepted_on_judging_split": _plain(quality_of(opinion, images)),
        "map50": maps,
        "calibration": {
            "errors": {name: error.model_dump() for name, error in done.learnt.errors.items()},
            "weights": {name: round(weight, 4) for name, weight in done.learnt.weights.items()},
            "bands": {name: band.model_dump() for name, band in done.learnt.bands.items()},
            "notes": list(done.learnt.notes),
        },
    }


def _plain(quality: Quality) -> dict[str, Any]:
    fractions = {"precision": quality.precision, "recall": quality.recall}
    return {**quality.model_dump(), **{k: None if v is None else round(v, 4) for k, v in fractions.items()}}


def _change(before: ShardFolder, after: ShardFolder) -> Change:
    """Compare what was accepted, image by image."""
    change = Change()
    for one, other in zip(before.all_records(), after.all_records(), strict=True):
        change = change.plus(_accepted(one), _accepted(other))
    return change


def _accepted(record: Mapping[str, Any]) -> list[Region]:
    regions = [region_from(values) for values in record.get("regions", ())]
    return [region for region in regions if region.review != "queued"]


def _write_report(folder: Path, report: Mapping[str, Any]) -> None:
    write_whole(folder / REPORT, json.dumps(report, ensure_ascii=False, indent=1).encode() + b"\n")


def read_report(folder: Path) -> dict[str, Any]:
    """Read the report of a round.

    Raises:
        OutputError: if it is missing or damaged.
    """
    file = folder / REPORT
    try:
        report: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return report
    except (OSError, ValueError, RecursionError) as error:
        raise OutputError(f"Cannot read {file}: {error}.", "Run the job again with --resume.") from error
