"""Seal and verify a folder: a manifest has the digests of its files, a seal that of the manifest.

Bundles and article files are such folders.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

from pydantic import BaseModel, Field, ValidationError

from edge.core.errors import ContractError, ModelError
from edge.core.files import file_digest
from edge.core.outside_files import SETTINGS_BYTES, read_bytes, read_text

ARTICLE_MANIFEST_NAME: Final = "article.json"
"""Manifest of an article file, see `edge.teach.article_file`."""

ManifestT = TypeVar("ManifestT", bound=BaseModel)


class SealedForm(NamedTuple):
    """Say how a kind of sealed folder is laid out and spoken of.

    Attributes:
        what: its name in messages, such as "bundle".
        manifest_name: file of the manifest, JSON with an integer `format`.
        newest_format: greatest `format` that this program reads.
        cure_missing: what to do where there is none.
        cure_invalid: what to do where its manifest is not valid.
    """

    what: str
    manifest_name: str
    newest_format: int
    cure_missing: str
    cure_invalid: str

    @property
    def seal_name(self) -> str:
        """File of the seal."""
        return f"{self.manifest_name}.sha256"

    def seal_of(self, folder: Path) -> bytes:
        """Return what the seal has to say: the line that `sha256sum` prints of the manifest."""
        return f"{file_digest(folder / self.manifest_name)}  {self.manifest_name}\n".encode()

    def write_manifest(self, folder: Path, manifest: BaseModel) -> None:
        """Write the manifest and its seal.

        Raises:
            OSError: if they cannot be written.
        """
        text = manifest.model_dump_json(indent=2)
        (folder / self.manifest_name).write_text(f"{text}\n", encoding="utf-8")
        (folder / self.seal_name).write_bytes(self.seal_of(folder))

    def check_seal(self, folder: Path) -> None:
        """See that nothing changed in the manifest, which vouches for all other files but itself.

        Raises:
            ModelError: if it or the seal was changed, or the seal cannot be read.
        """
        again = f"Copy the whole {self.what} again."
        seal = read_bytes(folder / self.seal_name, SETTINGS_BYTES, ModelError, again)
        if seal != self.seal_of(folder):
            raise ModelError(
                f"{folder / self.manifest_name} or its seal {self.seal_name} was changed after the"
                f" {self.what} was published.",
                again,
            )

    def read_manifest(self, path: Path, model: type[ManifestT]) -> ManifestT:
        """Read a manifest.

        Args:
            path: the file.
            model: what it has to be.
        Raises:
            ModelError: if it cannot be read.
            ContractError: if it is newer than this program or not valid.
        """
        text = read_text(path, error=ModelError, cure=self.cure_missing)
        try:
            version = _FormatOnly.model_validate_json(text).format
            if version > self.newest_format:
                raise ContractError(
                    f"{path} is of format {version}; this loomsight reads up to {self.newest_format}.",
                    "Update loomsight on this device.",
                )
            return model.model_validate_json(text)
        except ValidationError as error:
            raise ContractError(
                f"{path} is not valid: {_first_of(error, path.name)}.", self.cure_invalid
            ) from error


class _FormatOnly(BaseModel):
    format: int = Field(ge=1)


def _first_of(error: ValidationError, name: str) -> str:
    """Say in words what is wrong first."""
    first: Any = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"]) or name
    return f"{where}: {first['msg']}"
