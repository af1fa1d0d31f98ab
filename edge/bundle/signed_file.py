"""Sign a file as minisign does, and refuse one that no trusted key has signed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from edge.bundle.minisign import PublicKey, SecretKey, Signature, name_of, public_key, signature
from edge.core.errors import SignatureError

FETCH_AGAIN: Final = "Fetch it again from who published it."


def signature_text(data: bytes, name: str, key: SecretKey) -> str:
    """Return the file of a signature.

    Args:
        data: the file that is signed.
        name: of that file, for the comment that is signed with it.
        key: that signs.
    Raises:
        ValueError: if the key is damaged.
        ImportError: if the package cryptography is not installed.
    """
    from edge.bundle.ed25519 import signed

    return signed(data, f"timestamp:{int(time.time())}\tfile:{name}", key).file_text


def parsed_signature(text: str, file: object) -> Signature:
    """Read the file of a signature.

    Raises:
        SignatureError: if it is none.
    """
    try:
        return signature(text)
    except ValueError as error:
        raise SignatureError(f"{file} cannot be used: {error}.", FETCH_AGAIN) from error


def check_signed(
    data: bytes, made: Signature, keys: Sequence[str], revoked: Sequence[str], what: str, parts: str
) -> PublicKey:
    """Refuse data that none of a device's keys has signed.

    Args:
        data: what is signed.
        made: its signature.
        keys: public keys that are trusted.
        revoked: public keys that are refused.
        what: to call it, for instance `bundle runs/a`.
        parts: files of which one was changed where the signature is wrong.
    Returns:
        The key that signed it.
    Raises:
        SignatureError: if it was changed, or is signed by another key or by a revoked one.
        ImportError: if the package cryptography is not installed.
    """
    from edge.bundle.ed25519 import is_signed

    known = {one.key_id: one for one in map(public_key, keys)}
    name = name_of(made.key_id)
    if made.key_id in {public_key(one).key_id for one in revoked}:
        raise SignatureError(
            f"The {what} is signed by the key {name}, which is revoked.",
            f"Use a {what.split()[0]} that is signed by another key of [trust].",
        )
    key = known.get(made.key_id)
    if key is None:
        raise SignatureError(
            f"The {what} is signed by the key {name}, which this device does not trust.",
            "Add its public key to [trust] keys if it is the right one.",
        )
    if not is_signed(data, made, key):
        raise SignatureError(f"The signature of the {what} is wrong: {parts} was changed.", FETCH_AGAIN)
    return key
