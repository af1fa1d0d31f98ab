"""Open a bundle: a folder with the model, its contract, digests and golden images.

bundle.json      contract, digests of every other file, scorecard row, parity report
bundle.json.sha256  its seal: what `sha256sum` says of bundle.json
model.onnx       with the contract in its metadata
model.int8.onnx  the same in INT8, where it was asked for; model.f16.onnx in float16
golden/*.png     images with the detections the model must give on them
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path, PurePosixPath

from edge.bundle.manifest import (
    FORM,
    MANIFEST_NAME,
    MODEL_NAME,
    BundleManifest,
    Variant,
    VariantPrecision,
    read_manifest,
)
from edge.core.errors import ModelError
from edge.core.files import file_digest, stream_digest
from edge.core.outside_files import MODEL_BYTES, open_outside, reason_of

RIGHTS = "Give the user of this program the right to read all of the bundle."

MOST_PX = 1e6
"""Pixels of an image, along a side."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """Hold a bundle on disk whose digests are right, or a bare ONNX file.

    Attributes:
        path: the folder, or the ONNX file.
        model_path: the ONNX file that is meant: the model itself, or one of its variants.
        manifest: None for a bare ONNX file, whose contract then stands in its metadata alone. Its golden
            images are with what the model that is meant must find.
    """

    path: Path
    model_path: Path
    manifest: BundleManifest | None

    @property
    def variants(self) -> tuple[VariantPrecision, ...]:
        """Precisions of the variants it has."""
        return tuple(one.precision for one in self.manifest.variants) if self.manifest else ()

    def variant(self, precision: VariantPrecision) -> Bundle:
        """Return this bundle with one of its variants as the model that is meant.

        Raises:
            ModelError: if it has none of that precision.
        """
        found = next((one for one in self._manifest_variants() if one.precision == precision), None)
        if found is None or self.manifest is None:
            has = ", ".join(self.variants) or "none but the model itself"
            raise ModelError(
                f"{self.path} has no {precision} variant of its model; it has: {has}.",
                f"Export it with --{precision}, or choose another precision.",
            )
        golden = tuple(
            image.model_copy(update={"detections": detections})
            for image, detections in zip(self.manifest.golden, found.golden, strict=True)
        )
        manifest = self.manifest.model_copy(update={"golden": golden})
        return Bundle(self.path, self.path / found.file, manifest)

    def _manifest_variants(self) -> tuple[Variant, ...]:
        return self.manifest.variants if self.manifest else ()


def demo_bundle_path() -> Path:
    """Return the folder of the bundle that ships with the package."""
    return Path(str(resources.files("edge"))) / "demo_bundle"


def open_bundle(path: Path) -> Bundle:
    """Open a bundle folder or a bare ONNX file and check every digest.

    Raises:
        ModelError: if it is missing, incomplete or was changed since it was published.
        ContractError: if the manifest is newer than this program or not valid.
    """
    try:
        if path.is_file():
            return Bundle(path, path, None)
        is_there = path.is_dir()
    except OSError as error:
        raise ModelError(f"Cannot look at {path}: {reason_of(error)}.", RIGHTS) from error
    if not is_there:
        raise ModelError(
            f"There is no model at {path}.", "Name a bundle folder made by `loomsight export`."
        )
    manifest = read_manifest(path / MANIFEST_NAME)
    if is_sealed(path):
        FORM.check_seal(path)
    for name, digest in manifest.files.items():
        check_file(path, name, digest)
    _check_vouched(path, manifest)
    return Bundle(path, path / MODEL_NAME, manifest)


def check_file(
    path: Path,
    name: str,
    digest: str,
    *,
    what: str = "bundle",
    again: str = "Export it again.",
    most_bytes: int = MODEL_BYTES,
) -> None:
    """See that a file of a bundle, or of another folder with digests, is there and as it was published.

    Args:
        path: the folder.
        name, digest: of the file.
        what: to call the folder.
        again: how to make another one.
        most_bytes: of the file.
    Raises:
        ModelError: if it is not.
    """
    if "\0" in name or PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        raise ModelError(f"The {what} {path} names {name}, outside of it.", again)
    file = path / name
    try:
        file.stat()
    except FileNotFoundError as error:
        raise ModelError(f"The {what} {path} lacks {name}.", f"Copy the whole {what} again.") from error
    except OSError as error:
        raise ModelError(f"Cannot read {file}: {reason_of(error)}.", RIGHTS) from error
    with open_outside(file, most_bytes, ModelError, RIGHTS) as stream:
        if stream_digest(stream) != digest:
            raise ModelError(
                f"{file} was changed after the {what} was published.", f"Copy the whole {what} again."
            )


def model_digest_of(bundle: Bundle) -> str:
    """Return the sha256 of the ONNX file that is meant."""
    if bundle.manifest is None:
        return file_digest(bundle.model_path)
    return bundle.manifest.files[bundle.model_path.relative_to(bundle.path).as_posix()]


def is_sealed(folder: Path) -> bool:
    """Tell whether a bundle has a seal; those made before there were seals have none."""
    return (folder / FORM.seal_name).exists()


def _check_vouched(path: Path, manifest: BundleManifest) -> None:
    """See that a manifest has a digest of every model it names, and says what each must find."""
    for name in (MODEL_NAME, *(one.file for one in manifest.variants)):
        if name not in manifest.files:
            raise ModelError(f"The bundle {path} vouches for no {name}.", "Export it again.")
    for golden in manifest.golden:
        if golden.file not in manifest.files:
            raise ModelError(f"The bundle {path} vouches for no {golden.file}.", "Export it again.")
    known = set(manifest.contract.class_names)
    for detections in (
        *(one.detections for one in manifest.golden),
        *(o for v in manifest.variants for o in v.golden),
    ):
        for record in detections:
            if record["label"] not in known or not _is_box(record["box_xyxy_px"]):
                raise ModelError(
                    f"The bundle {path} expects on a golden image what is no defect of its classes.",
                    "Export it again.",
                )
    if any(len(one.golden) != len(manifest.golden) for one in manifest.variants):
        raise ModelError(
            f"The bundle {path} does not say what its variants find on every golden image.",
            "Export it again.",
        )


def _is_box(sides: list[float]) -> bool:
    return len(sides) == 4 and all(abs(side) <= MOST_PX for side in sides)
