"""Define the table `[trust]`: by which keys a bundle has to be signed."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, model_validator
from typing_extensions import Self

from edge.bundle.minisign import public_key


def _checked(text: str) -> str:
    return public_key(text).text


PublicKeyText = Annotated[str, AfterValidator(_checked)]
"""A public key of minisign: the second line of its file."""


class TrustSettings(BaseModel):
    """Hold whose bundles a device runs.

    Attributes:
        keys: public keys; a bundle has to be signed by one of them. Empty: any bundle is run.
        revoked: public keys that are refused, also where they stand in `keys`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    keys: tuple[PublicKeyText, ...] = ()
    revoked: tuple[PublicKeyText, ...] = ()

    @model_validator(mode="after")
    def _has_keys(self) -> Self:
        if self.revoked and not self.keys:
            raise ValueError(
                "trust.revoked says which keys are refused, and trust.keys names none that is not"
            )
        return self
