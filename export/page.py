"""Write the page of a bundle: what each model gives, and what it finds on labelled images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from distill.checkpoint import PAGE_NAME, inspected, run_page
from edge.backends.onnxruntime import OnnxRuntimeBackend
from edge.core.contract import ModelContract
from edge.core.counted import counted
from export.parity import ParityReport
from export.quality import QualityRow, Reference


def write_bundle_page(
    staged: Path,
    name: str,
    model_path: Path,
    contract: ModelContract,
    reference: Reference,
    parity: ParityReport,
    quality: Sequence[QualityRow],
    results: Sequence[str],
) -> None:
    """Write `index.html` into a bundle in the making.

    Raises:
        OutputError: if it cannot be written.
    """
    parts = [
        *(run_page.result(line) for line in results),
        _models(quality),
        run_page.section("Parity", run_page.text(parity_words(parity))),
        *_report(model_path, contract, reference),
        run_page.section(
            "Score thresholds",
            run_page.table(
                ("class", "threshold"),
                [(name, f"{score:.3f}") for name, score in contract.score_thresholds.items()],
            ),
        ),
    ]
    run_page.write_page(staged / PAGE_NAME, f"bundle: {name}", parts)


def parity_words(parity: ParityReport) -> str:
    """Say how far the exported model is from its checkpoint."""
    return (
        f"{counted(parity.tiles, 'tile')}: boxes within {parity.boxes_max_px:.2g} px, scores within "
        f"{parity.scores_max:.2g}, {counted(parity.detections, 'detection')} alike"
    )


def _models(rows: Sequence[QualityRow]) -> str:
    headings = ("model", "runtime", "matched", "mAP50", "mAP50-95", "drop", "p50 ms", "p99 ms")
    return run_page.section(
        "Models",
        run_page.table(
            headings,
            [
                [
                    row.precision,
                    row.runtime,
                    f"{row.matched:.3f} of {row.detections}",
                    *(_digits(value) for value in (row.map50, row.map50_95, row.drop)),
                    f"{row.latency.p50_ms:.1f}",
                    f"{row.latency.p99_ms:.1f}",
                ]
                for row in rows
            ],
            "Matched: fraction of the detections that model and checkpoint share. Drop: mAP50-95 lost.",
        ),
    )


def _report(model_path: Path, contract: ModelContract, reference: Reference) -> list[str]:
    """Return what the float32 model reports on the validation split, where there is one."""
    if reference.split is None:
        none = "No labelled images were given: add --data to see what is found and what is missed."
        return [run_page.section("Found and missed", run_page.text(none))]
    validation = reference.split.validation
    with OnnxRuntimeBackend(model_path, contract, providers=["CPUExecutionProvider"]) as backend:
        return inspected(backend, validation.plan, contract, validation.mm_per_px)[1]()


def _digits(value: float | None) -> str:
    return "—" if value is None else f"{value:.4f}"
