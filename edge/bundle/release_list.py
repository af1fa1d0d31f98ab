"""Define the list of releases: what each loom is to run. The office signs it, and the agents read it.

releases.json          the list, replaced as a whole; its sequence number only grows
releases.json.minisig  its signature
bundles/<id>/          bundle folders as `loomsight bundle sign` leaves them
articles/<id>/         article files as `loomsight teach` publishes them
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge.bundle.signed_file import FETCH_AGAIN, check_signed, parsed_signature
from edge.core.errors import ConfigError, ReleaseError

LIST_NAME: Final = "releases.json"
LIST_SIGNATURE_NAME: Final = "releases.json.minisig"
LIST_FORMAT: Final = 1
LIST_BYTES: Final = 4 * 2**20
FOLDERS: Final = {"bundle": "bundles", "article": "articles"}
MOST_RELEASES: Final = 10_000

Kind = Literal["bundle", "article"]
Stage = Literal["canary", "released", "stopped", "rolled back"]
ReleaseId = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
LoomName = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^#+\x00-\x1f\x7f]+$")]
"""As topics of MQTT have it: `box`, or `box/camera` in a device with several cameras."""


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Step(_Value):
    """Say when a release came to a stage, and why."""

    utc: str = Field(max_length=64)
    stage: Stage
    why: str = Field(max_length=2000)


class Release(_Value):
    """Hold what was published, for which looms, and how far it is.

    Attributes:
        id: first 16 digits of `digest`.
        digest: sha256 of `bundle.json` or `article.json`, which has the digests of all other files.
        name: of an article; what it is called of a bundle.
        looms: that are to run it.
        canaries: those of them that try it first, in shadow.
        steps: the first is that of publishing, the last one holds.
    """

    id: ReleaseId
    kind: Kind
    digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    name: str = Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")
    looms: tuple[LoomName, ...] = Field(min_length=1, max_length=10_000)
    canaries: tuple[LoomName, ...] = ()
    steps: tuple[Step, ...] = Field(min_length=1, max_length=1000)

    @property
    def stage(self) -> Stage:
        """How far it is."""
        return self.steps[-1].stage

    @property
    def folder(self) -> str:
        """Where it lies, below the list."""
        return f"{FOLDERS[self.kind]}/{self.id}"

    def at(self, stage: Stage, utc: str, why: str) -> Release:
        """Return it at another stage."""
        return self.model_copy(update={"steps": (*self.steps, Step(utc=utc, stage=stage, why=why[:2000]))})


class ReleaseList(_Value):
    """Hold all releases, the oldest first.

    Attributes:
        sequence: raised with every change: a device refuses a list that is older than the last it took.
    """

    format: int = LIST_FORMAT
    sequence: int = Field(default=0, ge=0, le=2**53)
    utc: str = Field(default="", max_length=64)
    releases: tuple[Release, ...] = Field(default=(), max_length=MOST_RELEASES)

    def current(self, looms: Collection[str]) -> Release | None:
        """Return the bundle that the looms of a device are to run; None if none was released for them."""
        released = self._of("bundle", "released")
        return next((one for one in reversed(released) if set(looms) & set(one.looms)), None)

    def candidate(self, looms: Collection[str]) -> Release | None:
        """Return the bundle that the looms of a device are to try in shadow; None for none."""
        tried = self._of("bundle", "canary")
        return next((one for one in reversed(tried) if set(looms) & set(one.canaries)), None)

    def articles(self, looms: Collection[str]) -> dict[str, Release]:
        """Return the article files that the looms of a device are to have, by the name of the article."""
        return {one.name: one for one in self._of("article", "released") if set(looms) & set(one.looms)}

    def _of(self, kind: Kind, stage: Stage) -> list[Release]:
        return [one for one in self.releases if one.kind == kind and one.stage == stage]


def read_list(data: bytes, signature: bytes, keys: Sequence[str], revoked: Sequence[str]) -> ReleaseList:
    """Read a list that a trusted key has signed.

    Args:
        data, signature: the two files.
        keys, revoked: public keys that are trusted, and refused.
    Raises:
        SignatureError: if none of the keys has signed it.
        ReleaseError: if it is no list, or of a newer version.
        ConfigError: if no key is trusted.
        ImportError: if the package cryptography is not installed.
    """
    if not keys:
        raise ConfigError(
            "No key is trusted, so no list of releases is.", "Set keys in [trust], see signed bundles."
        )
    made = parsed_signature(signature.decode("utf-8", "replace"), LIST_SIGNATURE_NAME)
    check_signed(data, made, keys, revoked, f"list {LIST_NAME}", "the list or its signature")
    return parsed_list(data)


def parsed_list(data: bytes) -> ReleaseList:
    """Read a list without looking at its signature.

    Raises:
        ReleaseError: if it is no list, or of a newer version.
    """
    try:
        found = ReleaseList.model_validate_json(data)
    except (ValidationError, RecursionError) as error:
        raise ReleaseError(f"{LIST_NAME} is no list of releases.", FETCH_AGAIN) from error
    if found.format > LIST_FORMAT:
        raise ReleaseError(
            f"{LIST_NAME} has the format {found.format}; this loomsight reads up to {LIST_FORMAT}.",
            "Update loomsight on this device.",
        )
    return found
