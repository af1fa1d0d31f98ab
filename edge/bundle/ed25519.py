"""Make keys, sign and verify with Ed25519 (RFC 8032), by the package cryptography."""

from __future__ import annotations

import secrets

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from edge.bundle.minisign import PublicKey, SecretKey, Signature, prehash


def new_key() -> SecretKey:
    """Return a new key with an id of its own."""
    key = Ed25519PrivateKey.generate()
    return SecretKey(
        PublicKey(secrets.token_bytes(8), key.public_key().public_bytes_raw()), key.private_bytes_raw()
    )


def signed(data: bytes, comment: str, key: SecretKey) -> Signature:
    """Sign a file, and a comment with it.

    Args:
        data: the file.
        comment: one line.
        key: that signs.
    Raises:
        ValueError: if the two halves of the key do not belong together.
    """
    private = Ed25519PrivateKey.from_private_bytes(key.seed)
    if private.public_key().public_bytes_raw() != key.public.key:
        raise ValueError("it is damaged")
    own = private.sign(prehash(data))
    made = Signature(key.public.key_id, True, own, comment, b"")
    return made._replace(of_both=private.sign(made.signed_comment))


def is_signed(data: bytes, signature: Signature, key: PublicKey) -> bool:
    """Tell whether a signature is that of a file and of its own comment, by a key.

    Args:
        data: the file.
        signature: of it.
        key: that should have made it.
    """
    try:
        public = Ed25519PublicKey.from_public_bytes(key.key)
        public.verify(signature.signature, signature.message(data))
        public.verify(signature.of_both, signature.signed_comment)
    except (InvalidSignature, ValueError):
        return False
    return True
