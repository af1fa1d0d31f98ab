"""The artefact a box runs: a folder with the model, its contract, digests and golden pictures.

bundle.json      contract, digests of every other file, scorecard row, parity report
bundle.json.sha256  its seal: what `sha256sum` says of bundle.json
model.onnx       with the contract in its metadata
model.int8.onnx  the same in INT8, where it was asked for; model.f16.onnx in float16
golden/*.png     pictures with the detections the model must give on them
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge import __version__
from edge.contract import ModelContract
from edge.detections import DetectionRecord
from edge.errors import ContractError, ModelError, OutputError

BUNDLE_FORMAT = 2
"""1 knew no variants and no layers; such bundles are read."""

MANIFEST_NAME = "bundle.json"
SEAL_NAME = "bundle.json.sha256"
MODEL_NAME = "model.onnx"

VariantPrecision = Literal["f16", "int8"]


class GoldenPicture(BaseModel):
    """Pair a picture of the bundle with what the model must find on it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str
    detections: tuple[DetectionRecord, ...]


class Variant(BaseModel):
    """Say what another form of the model is: smaller or faster, and within a permitted drop.

    Attributes:
        file: path relative to the bundle.
        golden: what it must find on each of the bundle's golden pictures, in their order.
        made: how it was made: calibration, layers left out.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    precision: VariantPrecision
    file: str
    golden: tuple[tuple[DetectionRecord, ...], ...] = ()
    made: dict[str, Any] = {}


class LayerSize(BaseModel):
    """Say what a layer of the network costs.

    Attributes:
        macs: multiplications for one input.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    macs: int
    parameters: int


class BundleManifest(BaseModel):
    """Say what a bundle holds. Stands in `bundle.json`.

    Attributes:
        files: sha256 of each file, by path relative to the bundle.
        variants: other forms of the model.
        layers: of the network, from its input on.
        scorecard: the row of the exported model.
        parity: how far the exported model is from its checkpoint.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = BUNDLE_FORMAT
    loomsight_version: str = __version__
    created_utc: str = Field(
        default_factory=lambda: datetime.now(timezone.utc).isoformat(timespec="seconds")
    )
    contract: ModelContract
    files: dict[str, str]
    golden: tuple[GoldenPicture, ...] = ()
    variants: tuple[Variant, ...] = ()
    layers: tuple[LayerSize, ...] = ()
    scorecard: dict[str, Any] | None = None
    parity: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle on disk whose digests hold, or a bare ONNX file.

    Attributes:
        path: the folder, or the ONNX file.
        model_path: the ONNX file that is meant: the model itself, or one of its variants.
        manifest: None for a bare ONNX file, whose contract then stands in its metadata alone. Its golden
            pictures are with what the model that is meant must find.
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
            picture.model_copy(update={"detections": detections})
            for picture, detections in zip(self.manifest.golden, found.golden, strict=True)
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
    if path.is_file():
        return Bundle(path, path, None)
    if not path.is_dir():
        raise ModelError(
            f"There is no model at {path}.", "Name a bundle folder made by `loomsight export`."
        )
    manifest = _read_manifest(path / MANIFEST_NAME)
    _check_seal(path)
    for name, digest in manifest.files.items():
        file = path / name
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise ModelError(f"The bundle {path} names {name}, outside of it.", "Export it again.")
        if not file.is_file():
            raise ModelError(f"The bundle {path} lacks {name}.", "Copy the whole bundle again.")
        if file_digest(file) != digest:
            raise ModelError(
                f"{file} was changed after the bundle was published.", "Copy the whole bundle again."
            )
    _check_vouched(path, manifest)
    return Bundle(path, path / MODEL_NAME, manifest)


def file_digest(path: Path) -> str:
    """Return the sha256 of a file as 64 hexadecimal digits."""
    with path.open("rb") as stream:
        digest = hashlib.sha256()
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def model_digest_of(bundle: Bundle) -> str:
    """Return the sha256 of the ONNX file that is meant."""
    if bundle.manifest is None:
        return file_digest(bundle.model_path)
    return bundle.manifest.files[bundle.model_path.relative_to(bundle.path).as_posix()]


def publish_bundle(
    staged: Path, destination: Path, manifest: BundleManifest, *, overwrite: bool = False
) -> None:
    """Write the manifest into a staged folder and rename the folder to its final name.

    Args:
        staged: folder with every file of `manifest.files`, on the same file system as `destination`.
        destination: final name; with `overwrite` an older bundle there is replaced.
    Raises:
        OutputError: if `destination` may not be replaced (see `check_destination`), or cannot be written.
    """
    try:
        manifest_path = staged / MANIFEST_NAME
        manifest_path.write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
        (staged / SEAL_NAME).write_bytes(_seal_of(staged))
        staged.chmod(0o755)
        check_destination(destination, overwrite=overwrite)
        if destination.exists():
            _swap(staged, destination)
        else:
            staged.replace(destination)
    except OSError as error:
        raise OutputError(
            f"Cannot write the bundle {destination}: {error}.", "Free space or choose another place."
        ) from error


def check_destination(destination: Path, *, overwrite: bool) -> None:
    """See that a bundle may be published under a name.

    Raises:
        OutputError: if something stands there that is not to be replaced. With `overwrite` that is anything
            but an empty folder or a bundle, and also a bundle among other files.
    """
    if destination.name in ("", ".."):
        raise OutputError(f"{destination} is no name for a bundle.", "Name a new folder.")
    if not destination.exists():
        return
    if not overwrite:
        raise OutputError(f"{destination} exists already.", "Choose another name or add --overwrite.")
    _check_is_bundle(destination)


def _check_is_bundle(folder: Path) -> None:
    """Refuse what is neither an empty folder nor a bundle alone: replacing it would delete other work."""
    cure = "Choose another name, or delete it yourself."
    if not folder.is_dir():
        raise OutputError(f"{folder} is not a bundle and is not replaced.", cure)
    if not any(folder.iterdir()):
        return
    try:
        manifest = _read_manifest(folder / MANIFEST_NAME)
    except (ModelError, ContractError) as error:
        raise OutputError(f"{folder} is not a bundle and is not replaced: {error.problem}", cure) from error
    files = [path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()]
    foreign = {path.relative_to(folder).as_posix() for path in files} - {
        MANIFEST_NAME,
        SEAL_NAME,
        *manifest.files,
    }
    if foreign:
        raise OutputError(
            f"{folder} is not replaced: {min(foreign)} in it does not belong to the bundle.", cure
        )


def _swap(staged: Path, destination: Path) -> None:
    """Put a new folder in the place of an old one; the old one comes back if that fails."""
    with tempfile.TemporaryDirectory(dir=destination.parent) as folder:
        retired = Path(folder) / "retired"
        destination.replace(retired)
        try:
            staged.replace(destination)
        except OSError:
            retired.replace(destination)
            raise


@contextmanager
def staging_folder(destination: Path) -> Iterator[Path]:
    """Make a temporary folder beside `destination`; remove it if it is still there at the end.

    Raises:
        OutputError: if the place cannot be written.
    """
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{destination.name}-", dir=destination.parent))
    except OSError as error:
        raise OutputError(
            f"Cannot write beside {destination}: {error}.", "Choose another place or free space."
        ) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def is_sealed(folder: Path) -> bool:
    """Tell whether a bundle has a seal; those made before there were seals have none."""
    return (folder / SEAL_NAME).exists()


def _check_vouched(path: Path, manifest: BundleManifest) -> None:
    """See that a manifest has a digest of every model it names, and says what each must find."""
    for name in (MODEL_NAME, *(one.file for one in manifest.variants)):
        if name not in manifest.files:
            raise ModelError(f"The bundle {path} vouches for no {name}.", "Export it again.")
    if any(len(one.golden) != len(manifest.golden) for one in manifest.variants):
        raise ModelError(
            f"The bundle {path} does not say what its variants find on every golden picture.",
            "Export it again.",
        )


def _seal_of(folder: Path) -> bytes:
    return f"{file_digest(folder / MANIFEST_NAME)}  {MANIFEST_NAME}\n".encode()


def _check_seal(folder: Path) -> None:
    """See that nothing changed in the manifest, which vouches for all other files but itself."""
    if not is_sealed(folder):
        return
    try:
        is_whole = (folder / SEAL_NAME).read_bytes() == _seal_of(folder)
    except OSError as error:
        raise ModelError(
            f"Cannot read {folder / SEAL_NAME}: {error}.", "Copy the whole bundle again."
        ) from error
    if not is_whole:
        raise ModelError(
            f"{folder / MANIFEST_NAME} or its seal {SEAL_NAME} was changed after the bundle was published.",
            "Copy the whole bundle again.",
        )


def _read_manifest(path: Path) -> BundleManifest:
    try:
        text = path.read_text(encoding="utf-8")
        version = _FormatOnly.model_validate_json(text).format
        if version > BUNDLE_FORMAT:
            raise ContractError(
                f"{path} is of format {version}; this loomsight reads up to {BUNDLE_FORMAT}.",
                "Update loomsight on this box.",
            )
        return BundleManifest.model_validate_json(text)
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(
            f"Cannot read {path}: {error}.", "Name a bundle folder made by `loomsight export`."
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or MANIFEST_NAME
        raise ContractError(f"{path} is not valid: {where}: {first['msg']}.", "Export it again.") from error


class _FormatOnly(BaseModel):
    format: int
