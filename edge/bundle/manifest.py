"""Define `bundle.json`: contract, digests, golden images, variants, scorecard, parity."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from edge import __version__
from edge.bundle.sealed import SealedForm
from edge.core.contract import ModelContract
from edge.core.detections import DetectionRecord

BUNDLE_FORMAT = 3
"""1 knew no variants and no layers, 2 no ancestry; such bundles are read."""

MANIFEST_NAME = "bundle.json"
MODEL_NAME = "model.onnx"
SIGNATURE_NAME = f"{MANIFEST_NAME}.minisig"

VariantPrecision = Literal["f16", "int8"]


class GoldenImage(BaseModel):
    """Pair an image of the bundle with what the model must find on it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    file: str
    detections: tuple[DetectionRecord, ...]


class Variant(BaseModel):
    """Say what another form of the model is: smaller or faster, and within a permitted drop.

    Attributes:
        file: path relative to the bundle.
        golden: what it must find on each of the bundle's golden images, in their order.
        made: how it was made: calibration, layers left out.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    precision: VariantPrecision
    file: str
    golden: tuple[tuple[DetectionRecord, ...], ...] = ()
    made: dict[str, Any] = {}


class LayerSize(BaseModel):
    """Say what a layer of the network costs.

    Attributes:
        macs: MACs for one input.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str
    macs: int = Field(ge=0, le=10**15)
    parameters: int = Field(ge=0, le=10**15)


class Stage(BaseModel):
    """Say what a model was after one stage of its making.

    Attributes:
        stage: for instance teacher, student-alone, distilled, cut-1, recovered-1, export, export int8.
        macs: MACs of one input.
        map50, map50_95, recall: on the validation split that this stage was measured on.
        false_alarms_per_clean_m2: reports on images without a defect, per square metre of cloth.
        p50_ms: median time of one input.
        checkpoint_digest: sha256 of the checkpoint.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    stage: str
    parameters: int = Field(ge=0)
    macs: int = Field(ge=0)
    file_size_bytes: int = Field(ge=0)
    map50: float | None = None
    map50_95: float | None = None
    recall: float | None = None
    false_alarms_per_clean_m2: float | None = None
    p50_ms: float | None = None
    checkpoint_digest: str


class BundleManifest(BaseModel):
    """Say what a bundle holds. Stands in `bundle.json`.

    Attributes:
        files: sha256 of each file, by path relative to the bundle.
        variants: other forms of the model.
        layers: of the network, from its input on.
        scorecard: the row of the exported model.
        ancestry: what the model was after each stage, from a teacher to the exported forms.
        parity: how far the exported model is from its checkpoint.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    format: int = BUNDLE_FORMAT
    loomsight_version: str = __version__
    created_utc: str = Field(
        default_factory=lambda: datetime.now(timezone.utc).isoformat(timespec="seconds")
    )
    contract: ModelContract
    files: dict[str, str]
    golden: tuple[GoldenImage, ...] = ()
    variants: tuple[Variant, ...] = ()
    layers: tuple[LayerSize, ...] = ()
    scorecard: dict[str, Any] | None = None
    ancestry: tuple[Stage, ...] = ()
    parity: dict[str, Any] | None = None


FORM = SealedForm(
    what="bundle",
    manifest_name=MANIFEST_NAME,
    newest_format=BUNDLE_FORMAT,
    cure_missing="Name a bundle folder made by `loomsight export`.",
    cure_invalid="Export it again.",
)


def read_manifest(path: Path) -> BundleManifest:
    """Read a `bundle.json`.

    Raises:
        ModelError: if it cannot be read.
        ContractError: if it is newer than this program or not valid.
    """
    return FORM.read_manifest(path, BundleManifest)
