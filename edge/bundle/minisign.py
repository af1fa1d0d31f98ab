"""Read and write keys and signatures as the program minisign has them; no cryptography is done here.

Format: https://jedisct1.github.io/minisign/#signature-format (Ed25519, keys and signatures in base64 behind
a line of comment). Secret keys are those without a password (`minisign -G -W`).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Final, NamedTuple

PLAIN: Final = b"Ed"
PREHASHED: Final = b"ED"
"""What is signed: the file itself, or its BLAKE2b-512. This program signs the latter and takes both."""

NO_KDF: Final = b"\0\0"
CHECKSUM: Final = b"B2"
PUBLIC_BYTES: Final = 42
SECRET_BYTES: Final = 158
SIGNATURE_BYTES: Final = 74
GLOBAL_BYTES: Final = 64
UNTRUSTED: Final = "untrusted comment: "
TRUSTED: Final = "trusted comment: "


class PublicKey(NamedTuple):
    """Hold a public key.

    Attributes:
        key_id: 8 bytes.
        key: 32 bytes, Ed25519.
    """

    key_id: bytes
    key: bytes

    @property
    def name(self) -> str:
        """The id as minisign prints it: 16 hexadecimal digits."""
        return name_of(self.key_id)

    @property
    def text(self) -> str:
        """The key as it stands in settings, and in the second line of its file."""
        return base64.b64encode(PLAIN + self.key_id + self.key).decode("ascii")

    @property
    def file_text(self) -> str:
        """The file of the key."""
        return f"{UNTRUSTED}minisign public key {self.name}\n{self.text}\n"


class SecretKey(NamedTuple):
    """Hold a secret key.

    Attributes:
        seed: 32 bytes, Ed25519.
    """

    public: PublicKey
    seed: bytes

    @property
    def file_text(self) -> str:
        """The file of the key, without a password."""
        secret = self.public.key_id + self.seed + self.public.key
        data = PLAIN + NO_KDF + CHECKSUM + bytes(48) + secret + _checksum(secret)
        return f"{UNTRUSTED}minisign secret key {self.public.name}\n{_base64(data)}\n"


class Signature(NamedTuple):
    """Hold a signature of a file.

    Attributes:
        key_id: of the key that made it.
        is_prehashed: whether the BLAKE2b-512 of the file was signed.
        signature: 64 bytes, of the file.
        comment: that is signed, too.
        of_both: 64 bytes, of the signature and the comment.
    """

    key_id: bytes
    is_prehashed: bool
    signature: bytes
    comment: str
    of_both: bytes

    @property
    def file_text(self) -> str:
        """The file of the signature."""
        data = (PREHASHED if self.is_prehashed else PLAIN) + self.key_id + self.signature
        head = f"{UNTRUSTED}signature of loomsight, key {name_of(self.key_id)}"
        return f"{head}\n{_base64(data)}\n{TRUSTED}{self.comment}\n{_base64(self.of_both)}\n"

    @property
    def signed_comment(self) -> bytes:
        """What the second signature is of."""
        return self.signature + self.comment.encode()

    def message(self, data: bytes) -> bytes:
        """Return what the first signature is of.

        Args:
            data: the file.
        """
        return prehash(data) if self.is_prehashed else data


def prehash(data: bytes) -> bytes:
    """Return what is signed in place of a file: its BLAKE2b-512."""
    return hashlib.blake2b(data).digest()


def name_of(key_id: bytes) -> str:
    """Return an id as minisign prints it: a number of 64 bits, little-endian."""
    return f"{int.from_bytes(key_id, 'little'):016X}"


def public_key(text: str) -> PublicKey:
    """Read a public key: its line alone, or its file.

    Raises:
        ValueError: if it is none; with what is wrong.
    """
    lines = text.strip().splitlines()
    data = _decoded(lines[-1] if lines else "", PUBLIC_BYTES, "public key of minisign")
    if data[:2] != PLAIN:
        raise ValueError("it is no public key of minisign")
    return PublicKey(data[2:10], data[10:])


def secret_key(text: str) -> SecretKey:
    """Read the file of a secret key.

    Raises:
        ValueError: if it is none, is damaged, or has a password.
    """
    lines = text.strip().splitlines()
    data = _decoded(lines[-1] if lines else "", SECRET_BYTES, "secret key of minisign")
    if data[:2] != PLAIN or data[4:6] != CHECKSUM:
        raise ValueError("it is no secret key of minisign")
    if data[2:4] != NO_KDF:
        raise ValueError("it has a password")
    secret, checksum = data[54:126], data[126:]
    if checksum not in (_checksum(secret), bytes(32)):
        raise ValueError("it is damaged")
    return SecretKey(PublicKey(secret[:8], secret[40:]), secret[8:40])


def signature(text: str) -> Signature:
    """Read the file of a signature.

    Raises:
        ValueError: if it is none.
    """
    lines = text.splitlines()
    if len(lines) != 4 or not lines[0].startswith(UNTRUSTED) or not lines[2].startswith(TRUSTED):
        raise ValueError("it is no signature of minisign")
    data = _decoded(lines[1], SIGNATURE_BYTES, "signature of minisign")
    of_both = _decoded(lines[3], GLOBAL_BYTES, "signature of minisign")
    if data[:2] not in (PLAIN, PREHASHED):
        raise ValueError("it is no signature of minisign")
    comment = lines[2].removeprefix(TRUSTED)
    return Signature(data[2:10], data[:2] == PREHASHED, data[10:], comment, of_both)


def _decoded(line: str, size: int, what: str) -> bytes:
    try:
        data = base64.b64decode(line.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise ValueError(f"it is no {what}") from error
    if len(data) != size or _base64(data) != line:
        raise ValueError(f"it is no {what}")
    return data


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _checksum(secret: bytes) -> bytes:
    return hashlib.blake2b(PLAIN + secret, digest_size=32).digest()
