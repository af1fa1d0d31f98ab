"""Publish a checkpoint as a bundle: eval mode, named ports, fixed opset, checker, parity, publish."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from distill.checkpoint import (
    EXPORT,
    SCORECARD_NAME,
    Detector,
    ScorecardRow,
    ancestry_of,
    append_row,
    count_macs,
    head_of,
    load_detector,
    load_validation,
    read_rows,
)
from edge.backends.description import Precision
from edge.backends.probe import multiplies_bfloat16
from edge.bundle.manifest import MODEL_NAME, BundleManifest, Stage
from edge.bundle.publish import check_destination, publish_bundle, staging_folder
from edge.core.contract import CONTRACT_VERSION, ModelContract, Outputs
from edge.core.errors import OutputError
from edge.core.files import file_digest
from edge.inference.engine_build import named_targets
from export.engines import write_engines
from export.golden import write_golden
from export.layers import layer_sizes
from export.onnx import onnx_model, with_batch, with_float16_weights, write_onnx
from export.page import write_bundle_page
from export.parity import ParityReport, check_parity, checkpoint_answer, in_batches
from export.quality import QualityRow, Reference, check_drop, doubts, quality_table
from export.results import results
from export.samples import Samples, load_samples
from export.variants import VariantOptions, file_of, write_variants
from export.yardstick import Yardstick

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Published:
    """Say what was published.

    Attributes:
        quality: each model of the bundle on each runtime that is installed.
        engines: names of the TensorRT engines in it.
        scorecard: the file the rows were appended to, that of the checkpoint's run; None where it cannot
            be written: the bundle says the same.
        results: lines that say what each model gives against the checkpoint.
    """

    bundle: Path
    contract: ModelContract
    parity: ParityReport
    quality: tuple[QualityRow, ...]
    engines: tuple[str, ...]
    row: ScorecardRow
    scorecard: Path | None
    results: tuple[str, ...]


def export_bundle(
    checkpoint: Path,
    images: Path,
    destination: Path,
    *,
    score_thresholds: Mapping[str, float] | None = None,
    float16_weights: bool = False,
    variants: VariantOptions | None = None,
    engines_for: Sequence[str] = (),
    batch: int | None = None,
    decode_at_edge: bool = False,
    overwrite: bool = False,
) -> Published:
    """Export a checkpoint and publish it as a bundle; on any error nothing is published.

    Args:
        checkpoint: written by `distill`.
        images: folder of real images of cloth, for parity and for the golden images.
        destination: folder of the bundle.
        score_thresholds: per class, in place of those that training chose; None or empty for none.
        float16_weights: store the weights in half the bytes; the network still computes in float32.
        variants: other forms of the model; None for none.
        engines_for: compute capabilities, such as `sm86`, to build TensorRT engines for.
        batch: images the models take at once, neither more nor fewer; None for any number.
        decode_at_edge: end the graphs in the head; the box decodes what they give.
        overwrite: replace a bundle that stands there.
    Raises:
        ConfigError: if `score_thresholds` names no class of the model, variants have no data set, the
            taxonomy has other classes, an engine is for no known GPU, or the head is decoded in the graph
            alone.
        CheckpointError: if the checkpoint cannot be used.
        DatasetError: if the data set is missing or damaged.
        NoImagesError, ImageError: if there are too few images, or one cannot be vouched for.
        ParityError: if the exported model does not give what the checkpoint gives, or loses too much.
        OutputError: if the bundle cannot be written, or exists, or `overwrite` would replace anything but a
            bundle or an empty folder.
    """
    check_destination(destination, overwrite=overwrite)
    options = variants or VariantOptions()
    options.check()
    targets = named_targets(engines_for) if engines_for else []
    detector = load_detector(checkpoint)
    contract = detector.contract.with_thresholds(score_thresholds or {}).model_copy(
        update={
            "contract_version": CONTRACT_VERSION,
            "source_digest": detector.file_digest,
            "batch": batch,
            "outputs": head_of(detector.module).raw_outputs() if decode_at_edge else Outputs(),
        }
    )
    samples = load_samples(images, contract)
    reference = _reference(detector, contract, samples, options)
    with staging_folder(destination) as staged:
        model_path = staged / MODEL_NAME
        model = onnx_model(detector, contract)
        stored = with_float16_weights(model) if float16_weights else model
        write_onnx(with_batch(stored, batch), model_path)
        parity = check_parity(
            detector, model_path, contract, samples.tiles_nchw, float16_weights=float16_weights
        )
        golden = write_golden(staged, model_path, contract, samples.images)
        others = write_variants(staged, model, contract, golden, reference.split, reference.strips, options)
        models: list[tuple[Precision, Path]] = [("f32", model_path)]
        models += [(one.precision, staged / one.file) for one in others]
        quality = _quality(models, contract, reference)
        check_drop(quality, options.max_drop)
        for doubt in doubts(reference, quality):
            logger.warning("%s", doubt)
        engines = write_engines(staged, models, contract, targets)
        scorecard = checkpoint.parent / SCORECARD_NAME
        sizes = {row.precision: (staged / file_of(row.precision)).stat().st_size for row in quality}
        lines = results(reference, quality, sizes)
        write_bundle_page(staged, destination.name, model_path, contract, reference, parity, quality, lines)
        rows = _scorecard_rows(detector, staged, contract, quality, read_rows(scorecard))
        manifest = BundleManifest(
            contract=contract,
            files=_digests(staged),
            golden=golden,
            variants=others,
            layers=layer_sizes(model),
            scorecard=rows[0].model_dump(mode="json"),
            ancestry=tuple(_as_stage(row) for row in (*ancestry_of(checkpoint), *rows)),
            parity={
                **parity.model_dump(mode="json"),
                "models": [row.model_dump(mode="json") for row in quality],
            },
        )
        publish_bundle(staged, destination, manifest, overwrite=overwrite)
    names = tuple(engine.path.name for engine in engines)
    return Published(
        destination, contract, parity, quality, names, rows[0], _appended(scorecard, rows), tuple(lines)
    )


def _appended(scorecard: Path, rows: Sequence[ScorecardRow]) -> Path | None:
    """Append the rows beside the checkpoint; the bundle is out, so a read-only folder is no failure."""
    try:
        for row in rows:
            append_row(scorecard, row)
    except OutputError as error:
        logger.warning("no rows in the scorecard of the checkpoint's run: %s", error)
        return None
    return scorecard


def _reference(
    detector: Detector, contract: ModelContract, samples: Samples, options: VariantOptions
) -> Reference:
    """Say what the checkpoint gives: on the sample tiles, and on the val splits that were given."""
    run = partial(checkpoint_answer, detector)
    answers = in_batches(run, samples.tiles_nchw)

    def reached(folder: Path | None) -> Yardstick | None:
        if folder is None:
            return None
        validation = load_validation(folder, contract, options.taxonomy)
        logger.info("the checkpoint is measured on %d tiles of %s", len(validation.plan.tiles), folder)
        return Yardstick(validation, validation.metrics(run).map50_95)

    return Reference(samples.tiles_nchw, answers, reached(options.data), reached(options.strips))


def _quality(
    models: Sequence[tuple[Precision, Path]], contract: ModelContract, reference: Reference
) -> tuple[QualityRow, ...]:
    """Measure the models, the float32 one in bfloat16, too, where the processor has that."""
    in_bfloat16: list[tuple[Precision, Path]] = [("bf16", models[0][1])] if multiplies_bfloat16() else []
    return quality_table([models[0], *in_bfloat16, *models[1:]], contract, reference)


def _scorecard_rows(
    detector: Detector,
    staged: Path,
    contract: ModelContract,
    quality: Sequence[QualityRow],
    known: Sequence[ScorecardRow],
) -> list[ScorecardRow]:
    """Return a row for each model on each runtime; the first is the model itself on ONNX Runtime.

    How good the model itself is stands in its checkpoint's row where it was not measured: parity holds.
    """
    own = [row for row in known if row.checkpoint_digest == detector.file_digest]
    of_checkpoint = own[-1].model_dump(include=_QUALITY) if own else {}
    parameters = sum(parameter.numel() for parameter in detector.module.parameters())
    macs = count_macs(detector.module, (contract.channels, *contract.input_size_hw_px))
    return [
        ScorecardRow(
            stage=EXPORT if row.precision == "f32" else f"{EXPORT} {row.precision}",
            parameters=parameters,
            macs=macs,
            file_size_bytes=(staged / file_of(row.precision)).stat().st_size,
            latency=row.latency,
            checkpoint_digest=detector.file_digest,
            **_quality_of(row, of_checkpoint),
        )
        for row in quality
    ]


def _as_stage(row: ScorecardRow) -> Stage:
    values = row.model_dump(include=set(Stage.model_fields))
    return Stage(**values, p50_ms=row.latency.p50_ms if row.latency else None)


def _quality_of(row: QualityRow, of_checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    if row.map50_95 is not None:
        return {"map50": row.map50, "map50_95": row.map50_95}
    return dict(of_checkpoint) if row.precision == "f32" else {}


_QUALITY = {"map50", "map50_95", "recall", "false_alarms_per_clean_m2"}


def _digests(staged: Path) -> dict[str, str]:
    files = sorted(path for path in staged.rglob("*") if path.is_file())
    return {path.relative_to(staged).as_posix(): file_digest(path) for path in files}
