"""Checkpoint to bundle, in one order: eval mode, named ports, fixed opset, checker, parity, publish."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from distill.checkpoint import (
    SCORECARD_NAME,
    Detector,
    ScorecardRow,
    append_row,
    count_macs,
    load_detector,
    measure_latency,
    read_rows,
)
from edge.backends.onnxruntime import OnnxRuntimeBackend
from edge.bundle import (
    MODEL_NAME,
    BundleManifest,
    check_destination,
    file_digest,
    publish_bundle,
    staging_folder,
)
from edge.contract import ModelContract
from export.golden import write_golden
from export.onnx import onnx_model, with_float16_weights, write_onnx
from export.parity import ParityReport, check_parity
from export.samples import Samples, load_samples


@dataclass(frozen=True, slots=True)
class Published:
    """Say what was published.

    Attributes:
        scorecard: the file the row was appended to: that of the checkpoint's run.
    """

    bundle: Path
    contract: ModelContract
    parity: ParityReport
    row: ScorecardRow
    scorecard: Path


def export_bundle(
    checkpoint: Path,
    images: Path,
    destination: Path,
    *,
    score_thresholds: Mapping[str, float] | None = None,
    float16_weights: bool = False,
    overwrite: bool = False,
) -> Published:
    """Export a checkpoint and publish it as a bundle; on any error nothing is published.

    Args:
        checkpoint: written by `distill`.
        images: folder of real pictures of cloth, for parity and for the golden pictures.
        destination: folder of the bundle.
        score_thresholds: per class, in place of those that training chose; None or empty for none.
        float16_weights: store the weights in half the bytes; the network still computes in float32.
        overwrite: replace a bundle that stands there.
    Raises:
        ConfigError: if `score_thresholds` names no class of the model.
        CheckpointError: if the checkpoint cannot be used.
        NoImagesError: if there are too few pictures.
        ParityError: if the exported model does not give what the checkpoint gives.
        OutputError: if the bundle cannot be written, or exists, or `overwrite` would replace anything but a
            bundle or an empty folder.
    """
    check_destination(destination, overwrite=overwrite)
    detector = load_detector(checkpoint)
    contract = detector.contract.with_thresholds(score_thresholds or {}).model_copy(
        update={"source_digest": detector.file_digest}
    )
    samples = load_samples(images, contract)
    with staging_folder(destination) as staged:
        model_path = staged / MODEL_NAME
        model = onnx_model(detector, contract)
        write_onnx(with_float16_weights(model) if float16_weights else model, model_path)
        parity = check_parity(
            detector, model_path, contract, samples.tiles_nchw, float16_weights=float16_weights
        )
        golden = write_golden(staged, model_path, contract, samples.pictures)
        scorecard = checkpoint.parent / SCORECARD_NAME
        row = _scorecard_row(detector, model_path, contract, samples, read_rows(scorecard))
        manifest = BundleManifest(
            contract=contract,
            files=_digests(staged),
            golden=golden,
            scorecard=row.model_dump(mode="json"),
            parity=parity.model_dump(mode="json"),
        )
        publish_bundle(staged, destination, manifest, overwrite=overwrite)
    append_row(scorecard, row)
    return Published(destination, contract, parity, row, scorecard)


def _scorecard_row(
    detector: Detector,
    model_path: Path,
    contract: ModelContract,
    samples: Samples,
    rows: Sequence[ScorecardRow],
) -> ScorecardRow:
    """Measure the exported model; how good it is stands in its checkpoint's row, and parity holds."""
    with OnnxRuntimeBackend(model_path, contract) as backend:
        latency = measure_latency(
            backend.infer,
            samples.tiles_nchw,
            runtime=backend.description.runtime,
            device=backend.description.device,
            precision=backend.description.precision,
        )
    own = [row for row in rows if row.checkpoint_digest == detector.file_digest]
    quality = own[-1].model_dump(include=_QUALITY) if own else {}
    return ScorecardRow(
        stage="export",
        parameters=sum(parameter.numel() for parameter in detector.module.parameters()),
        macs=count_macs(detector.module, (contract.channels, *contract.input_size_hw_px)),
        file_size_bytes=model_path.stat().st_size,
        latency=latency,
        checkpoint_digest=detector.file_digest,
        **quality,
    )


_QUALITY = {"map50", "map50_95", "recall", "false_alarms_per_clean_m2"}


def _digests(staged: Path) -> dict[str, str]:
    files = sorted(path for path in staged.rglob("*") if path.is_file())
    return {path.relative_to(staged).as_posix(): file_digest(path) for path in files}
