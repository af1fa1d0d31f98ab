"""Read the manifests of engine files, and choose the engine that fits this device.

NAME.engine   what TensorRT wrote: executable data, so only what a digest vouches for is loaded
NAME.json     an `EngineManifest`: contract, library, GPU, batch, digests of the engine and of its ONNX file
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from typing_extensions import Self

from edge.core.contract import ModelContract
from edge.core.errors import ContractError, ModelError
from edge.core.files import file_digest, write_whole

ENGINE_SUFFIX = ".engine"
MANIFEST_SUFFIX = ".json"

LibraryName = Literal["tensorrt", "tensorrt_rtx"]
EnginePrecision = Literal["f32", "f16", "int8"]
"""What the ONNX file of an engine is made of; `int8` has its convolutions between Q and DQ nodes."""
HardwareCompatibility = Literal["none", "same_compute_capability", "ampere_plus"]

LOWEST_FIRST: Final[tuple[EnginePrecision, ...]] = ("int8", "f16", "f32")
REBUILD: Final = "edge-doctor --build"

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Capability = Annotated[str, Field(pattern=r"^[0-9]{1,2}\.[0-9]$")]
"""Compute capability as NVIDIA writes it: `8.6`."""


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class BatchProfile(_Value):
    """Say how many images an engine takes at once: any number from `least` to `most`, best at `usual`."""

    least: int = Field(ge=1, le=1024)
    usual: int = Field(ge=1, le=1024)
    most: int = Field(ge=1, le=1024)

    @property
    def is_fixed(self) -> bool:
        """Tell whether there is just one size: its shapes are static, so a CUDA graph can hold it."""
        return self.least == self.most

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if not self.least <= self.usual <= self.most:
            raise ValueError("a batch profile wants least <= usual <= most")
        return self

    def __str__(self) -> str:
        return f"{self.most}" if self.is_fixed else f"{self.least}-{self.most}"


class Gpu(_Value):
    """Name the GPU of a device."""

    name: str
    capability: Capability


class EngineManifest(_Value):
    """Say what an engine is and where it runs. Stands beside it as JSON.

    Attributes:
        library_version: that built it; others refuse the engine, unless it is `version_compatible`.
        gpu: the only kind of GPU it runs on; None where `capabilities` alone decide (tensorrt-rtx).
        capabilities: compute capabilities it was built for.
        source_digest: sha256 of the ONNX file.
        engine_digest: sha256 of the engine file.
    """

    format: Literal[1] = 1
    contract: ModelContract
    library: LibraryName
    library_version: str = Field(pattern=r"^[0-9]+(\.[0-9A-Za-z]+)+$")
    precision: EnginePrecision
    gpu: str | None
    capabilities: tuple[Capability, ...] = Field(min_length=1)
    batch: BatchProfile
    version_compatible: bool = False
    hardware: HardwareCompatibility = "none"
    source_digest: Digest
    engine_digest: Digest

    @property
    def target(self) -> str:
        """What it was built for, in words."""
        sms = ", ".join(sm_of(capability) for capability in self.capabilities)
        return f"{self.gpu} ({sms})" if self.gpu else sms

    @property
    def stem(self) -> str:
        """Name of its files: another GPU, version, precision, batch or source is another file."""
        gpu = re.sub(r"[^a-z0-9]+", "-", (self.gpu or "").lower()).strip("-")
        sms = "-".join(sm_of(capability).lower() for capability in self.capabilities)
        options = (
            "vc" if self.version_compatible else "",
            "" if self.hardware == "none" else self.hardware,
        )
        parts = (
            gpu,
            sms,
            f"{self.library}-{self.library_version}",
            self.precision,
            f"b{self.batch}",
            *options,
            self.source_digest[:8],
        )
        return "_".join(part for part in parts if part)


@dataclass(frozen=True, slots=True)
class EngineFile:
    """An engine on disk and what it says of itself; the digest of the engine is checked when it is read."""

    path: Path
    manifest: EngineManifest

    def read(self) -> bytes:
        """Return the engine.

        Raises:
            ModelError: if it cannot be read or is not what its manifest vouches for.
        """
        try:
            data = self.path.read_bytes()
        except OSError as error:
            raise ModelError(f"Cannot read {self.path}: {error.strerror}.", f"Run {REBUILD}.") from error
        if digest_of(data) != self.manifest.engine_digest:
            raise ModelError(
                f"{self.path} was changed after it was built.", f"Delete it and run {REBUILD}."
            )
        return data

    def delete(self) -> None:
        """Delete the engine and its manifest."""
        for file in (self.path, self.path.with_suffix(MANIFEST_SUFFIX)):
            file.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class GpuHost:
    """Say what an engine has to fit.

    Attributes:
        libraries: version by name, the preferred one first.
        sources: precision by sha256 of each ONNX file of the model; None where nobody says which.
    """

    gpu: Gpu
    libraries: Mapping[LibraryName, str]
    contract: ModelContract
    sources: Mapping[str, EnginePrecision | None]


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """Hold the engines that fit a device, the best first, and for each other one a reason why not."""

    fitting: tuple[EngineFile, ...]
    skipped: tuple[str, ...]


def digest_of(data: bytes) -> str:
    """Return the sha256 of bytes as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def sm_of(capability: str) -> str:
    """Return `SM86` for `8.6`."""
    return "SM" + capability.replace(".", "")


def write_engine(folder: Path, engine: bytes, manifest: EngineManifest) -> EngineFile:
    """Write an engine and then its manifest; without that nothing finds it.

    Raises:
        OutputError: if they cannot be written, for instance for want of space.
    """
    path = folder / f"{manifest.stem}{ENGINE_SUFFIX}"
    manifest_path = path.with_suffix(MANIFEST_SUFFIX)
    manifest_path.unlink(missing_ok=True)
    write_whole(path, engine)
    write_whole(manifest_path, manifest.model_dump_json(indent=1).encode() + b"\n")
    return EngineFile(path, manifest)


def read_manifest(path: Path) -> EngineManifest:
    """Read what stands beside an engine.

    Raises:
        ModelError: if it cannot be read.
        ContractError: if it is of a newer loomsight, or not valid.
    """
    try:
        return EngineManifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ModelError(f"Cannot read {path}: {error.strerror}.", f"Run {REBUILD}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or path.name
        raise ContractError(f"{path} is not valid: {where}: {first['msg']}.", f"Run {REBUILD}.") from error


def choose_engine(manifest_paths: Sequence[Path], host: GpuHost) -> EngineChoice:
    """Find the engines that fit a device.

    Args:
        manifest_paths: of engines somebody vouches for; the first of two equals wins.
    Returns:
        Those that fit, by library, then the lowest precision, then a free batch before a fixed one.
    """
    fitting, skipped = [], []
    for path in manifest_paths:
        reason, engine = _judged(path, host)
        if engine is None:
            skipped.append(f"{path.stem}: {reason}")
        else:
            fitting.append(engine)
    order = list(host.libraries)

    def rank(engine: EngineFile) -> tuple[int, int, bool]:
        manifest = engine.manifest
        precision = LOWEST_FIRST.index(manifest.precision)
        return order.index(manifest.library), precision, manifest.batch.is_fixed

    return EngineChoice(tuple(sorted(fitting, key=rank)), tuple(skipped))


def why_not(manifest: EngineManifest, host: GpuHost) -> str | None:
    """Say why an engine does not fit a device; None if it does."""
    if manifest.source_digest not in host.sources:
        return "built from another model"
    if manifest.contract != host.contract:
        return "its contract is not the one of the model"
    precision = host.sources[manifest.source_digest]
    if precision not in (None, manifest.precision):
        return f"says {manifest.precision}, its model is {precision}"
    return _why_not_this_library(manifest, host) or _why_not_this_gpu(manifest, host.gpu)


def _judged(path: Path, host: GpuHost) -> tuple[str, EngineFile | None]:
    try:
        manifest = read_manifest(path)
    except (ModelError, ContractError) as error:
        return error.problem, None
    reason = why_not(manifest, host)
    if reason is not None:
        return reason, None
    engine = EngineFile(path.with_suffix(ENGINE_SUFFIX), manifest)
    if not engine.path.is_file():
        return "the engine itself is missing", None
    if file_digest(engine.path) != manifest.engine_digest:
        return "was changed after it was built", None
    return "", engine


def _why_not_this_library(manifest: EngineManifest, host: GpuHost) -> str | None:
    here = host.libraries.get(manifest.library)
    built_by = f"built by {manifest.library} {manifest.library_version}"
    if here is None:
        known = ", ".join(f"{n} {v}" for n, v in host.libraries.items()) or "there is none"
        return f"{built_by}; here {known}"
    if here == manifest.library_version:
        return None
    built, ours = _numbers(manifest.library_version), _numbers(here)
    if manifest.version_compatible and built[:1] == ours[:1] and built <= ours:
        return None
    return f"{built_by}; here {here}"


def _why_not_this_gpu(manifest: EngineManifest, gpu: Gpu) -> str | None:
    mismatch = f"built for {manifest.target}; this GPU is {gpu.name} ({sm_of(gpu.capability)})"
    if manifest.hardware == "ampere_plus":
        return None if _numbers(gpu.capability) >= (8, 0) else mismatch
    if gpu.capability not in manifest.capabilities:
        return mismatch
    by_name = manifest.gpu is not None and manifest.hardware == "none"
    return mismatch if by_name and manifest.gpu != gpu.name else None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))
