"""Sign bundles, and refuse those that are not signed by a key that a device trusts.

The signature is of `bundle.json`, which has the digest of every other file; it lies beside it as
`bundle.json.minisig`, so that `minisign -Vm bundle.json -p KEY.pub` verifies it, too.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from edge.bundle.manifest import FORM, MANIFEST_NAME, SIGNATURE_NAME
from edge.bundle.minisign import PublicKey, SecretKey, Signature, name_of, secret_key, signature
from edge.bundle.opening import Bundle, open_bundle
from edge.bundle.signed_file import FETCH_AGAIN, check_signed, parsed_signature, signature_text
from edge.core.errors import ConfigError, ModelError, OutputError, SignatureError
from edge.core.files import cannot_write, remove_partial, write_whole
from edge.core.outside_files import SETTINGS_BYTES, check_private, read_bytes, read_text, reason_of

SIGN_IT: Final = "Sign it: `loomsight bundle sign {path} --key FILE`."


def make_key(file: Path) -> PublicKey:
    """Make a key: the secret one in a file for its owner only, the public one beside it as `FILE.pub`.

    Raises:
        OutputError: if one of the files exists, or cannot be written.
        ImportError: if the package cryptography is not installed.
    """
    from edge.bundle.ed25519 import new_key

    public_file = Path(f"{file}.pub")
    for path in (file, public_file):
        if os.path.lexists(path):
            raise OutputError(
                f"{path} exists.", "Name another file: a key that is lost cannot be made again."
            )
    key = new_key()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as stream:
            stream.write(key.file_text)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise cannot_write(file, error) from error
    write_whole(public_file, key.public.file_text.encode())
    return key.public


def sign_bundle(folder: Path, key_file: Path) -> PublicKey:
    """Sign a bundle; an earlier signature is replaced.

    Raises:
        ModelError, ContractError: if the bundle is damaged, or none.
        ConfigError: if the key cannot be used.
        OutputError: if the signature cannot be written.
        ImportError: if the package cryptography is not installed.
    """
    key = read_secret_key(key_file)
    if open_bundle(folder).manifest is None:
        raise ModelError(f"{folder} is a bare ONNX file.", "Sign the bundle folder.")
    remove_partial(folder / SIGNATURE_NAME)
    _check_covers(folder, open_bundle(folder))
    try:
        text = signature_text((folder / MANIFEST_NAME).read_bytes(), MANIFEST_NAME, key)
    except ValueError as error:
        raise _bad_key(key_file, str(error)) from error
    write_whole(folder / SIGNATURE_NAME, text.encode())
    return key.public


def signer_of(folder: Path) -> str | None:
    """Return the name of the key that the signature of a bundle names; None without one."""
    try:
        return name_of(signature((folder / SIGNATURE_NAME).read_text("utf-8")).key_id)
    except (OSError, ValueError):
        return None


def check_trusted(bundle: Bundle, keys: Sequence[str], revoked: Sequence[str] = ()) -> PublicKey | None:
    """Refuse a bundle that none of a device's keys has signed.

    Args:
        bundle: whose digests are right.
        keys: public keys that are trusted; none to take any bundle.
        revoked: public keys that are refused.
    Returns:
        The key that signed it; None where no key is asked for.
    Raises:
        SignatureError: if it is unsigned, was changed, is signed by another key or by a revoked one, or has
            a file that the signature does not cover.
        ImportError: if the package cryptography is not installed.
    """
    if not keys:
        return None
    path = bundle.path
    made, data = _signature_of(bundle), _manifest_of(path)
    parts = "bundle.json or the signature"
    key = check_signed(data, made, keys, revoked, f"bundle {path}", parts)
    _check_covers(path, bundle)
    return key


def _signature_of(bundle: Bundle) -> Signature:
    path, file = bundle.path, bundle.path / SIGNATURE_NAME
    if bundle.manifest is None:
        raise SignatureError(
            f"{path} is a bare ONNX file, which cannot be signed; [trust] asks for a signature.",
            "Name a signed bundle folder.",
        )
    if not file.exists():
        raise SignatureError(
            f"The bundle {path} is not signed, and [trust] asks for a signature.", SIGN_IT.format(path=path)
        )
    return parsed_signature(read_text(file, SETTINGS_BYTES, SignatureError, FETCH_AGAIN), file)


def _manifest_of(path: Path) -> bytes:
    return read_bytes(path / MANIFEST_NAME, SETTINGS_BYTES, SignatureError, FETCH_AGAIN)


def _check_covers(path: Path, bundle: Bundle) -> None:
    """See that every file of a bundle has its digest in `bundle.json`: a model may read others beside it.

    Raises:
        SignatureError: if one has not.
    """
    vouched = {MANIFEST_NAME, FORM.seal_name, SIGNATURE_NAME}
    vouched |= set(bundle.manifest.files) if bundle.manifest else set()
    try:
        found = {one.relative_to(path).as_posix() for one in path.rglob("*") if not _is_folder(one)}
    except OSError as error:
        raise SignatureError(
            f"Cannot look through {path}: {reason_of(error)}.", "Check its rights."
        ) from error
    more = found - vouched
    if more:
        raise SignatureError(
            f"The bundle {path} has the file {min(more)}, which its signature does not cover.",
            "Remove that file.",
        )


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def read_secret_key(file: Path) -> SecretKey:
    """Read a secret key from its file, which only its owner may read.

    Raises:
        ConfigError: if it cannot be used.
    """
    check_private(file, "--key")
    try:
        return secret_key(read_text(file, cure="Check --key."))
    except ValueError as error:
        raise _bad_key(file, str(error)) from error


def _bad_key(file: Path, why: str) -> ConfigError:
    cure = "Make one with `loomsight bundle key new FILE`."
    if why == "it has a password":
        cure = f"Sign with `minisign -S -s {file} -m BUNDLE/{MANIFEST_NAME}`, which asks for it."
    return ConfigError(f"--key {file} cannot be used: {why}.", cure)
