"""Open key and certificate of the server; they are made at the first start."""

from __future__ import annotations

import socket
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address
from pathlib import Path
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edge.core.errors import ConfigError
from edge.core.files import write_whole
from edge.core.outside_files import check_private, read_bytes

KEY_BITS: Final = 2048
"""Every policy that is served takes 2048 to 4096 bits (OPC 10000-7)."""

VALID_FOR: Final = timedelta(days=20 * 365)
"""A device is in use for longer than anybody remembers to renew its certificate."""

MOST_BYTES: Final = 2**16
KEY_SETTING: Final = "opcua: the key"


class Identity(NamedTuple):
    """Hold what the server proves itself with.

    Attributes:
        key_pem: private key, PEM without a password.
        certificate_der: DER.
        application_uri: that the certificate is for.
    """

    key_pem: bytes
    certificate_der: bytes
    application_uri: str

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate, as people compare it."""
        digest = x509.load_der_x509_certificate(self.certificate_der).fingerprint(hashes.SHA256())
        return digest.hex(":").upper()


def open_identity(folder: Path) -> Identity:
    """Return key and certificate of a folder; where neither is there they are made.

    Raises:
        ConfigError: if one cannot be read, is none, or they are not of each other.
        OutputError: if they cannot be written.
    """
    key_file, certificate_file = folder / "key.pem", folder / "certificate.der"
    if not key_file.exists() and not certificate_file.exists():
        _make(key_file, certificate_file)
    check_private(key_file, KEY_SETTING)
    key_pem = read_bytes(key_file, MOST_BYTES, cure="Check opcua.folder.")
    certificate_der = _der(read_bytes(certificate_file, MOST_BYTES, cure="Check opcua.folder."))
    certificate = _certificate(certificate_der, certificate_file)
    if _key(key_pem, key_file).public_key() != certificate.public_key():
        raise _unusable(f"The certificate {certificate_file} is not for the key beside it.")
    now = datetime.now(timezone.utc)
    if now > certificate.not_valid_after_utc:
        raise _unusable(
            f"The certificate {certificate_file} is valid until {certificate.not_valid_after_utc:%Y-%m-%d}."
        )
    return Identity(key_pem, certificate_der, _uri_of(certificate, certificate_file))


def trusted_certificates(folder: Path) -> frozenset[bytes]:
    """Return the SHA-256 digests of the certificates in a folder, DER or PEM.

    Raises:
        ConfigError: if there is none, or a file is none.
    """
    files = sorted(file for file in folder.glob("*") if file.is_file()) if folder.is_dir() else []
    if not files:
        raise ConfigError(
            f"opcua.trusted_only is set, and {folder} holds no certificate.",
            "Copy those of the clients there, as DER or PEM.",
        )
    found = (_certificate(_der(read_bytes(file, MOST_BYTES)), file) for file in files)
    return frozenset(one.fingerprint(hashes.SHA256()) for one in found)


def fingerprint_of(certificate_der: bytes) -> bytes:
    """Return the SHA-256 digest of a certificate."""
    return x509.load_der_x509_certificate(certificate_der).fingerprint(hashes.SHA256())


def _make(key_file: Path, certificate_file: Path) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
    certificate = _self_signed(key, socket.gethostname())
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    write_whole(key_file, pem, is_private=True)
    write_whole(certificate_file, certificate.public_bytes(serialization.Encoding.DER))


def _self_signed(key: rsa.RSAPrivateKey, host: str) -> x509.Certificate:
    """Return a certificate of an application (OPC 10000-6, section 6.2.2)."""
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, "loomsight"),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, host[:64]),
        ]
    )
    names: list[x509.GeneralName] = [
        x509.UniformResourceIdentifier(f"urn:{host}:loomsight"),
        x509.DNSName(host),
        x509.IPAddress(ip_address("127.0.0.1")),
    ]
    now = datetime.now(timezone.utc)
    public, authority = key.public_key(), x509.AuthorityKeyIdentifier.from_issuer_public_key
    usage = x509.KeyUsage(
        digital_signature=True, content_commitment=True, key_encipherment=True, data_encipherment=True,
        key_agreement=False, key_cert_sign=True, crl_sign=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + VALID_FOR)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=False)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(authority(public), critical=False)
        .sign(key, hashes.SHA256())
    )


def _der(data: bytes) -> bytes:
    """Return a certificate as DER; what is none is left to whoever reads it."""
    if not data.startswith(b"-----BEGIN"):
        return data
    try:
        return x509.load_pem_x509_certificate(data).public_bytes(serialization.Encoding.DER)
    except ValueError:
        return data


def _key(pem: bytes, file: Path) -> rsa.RSAPrivateKey:
    try:
        key = serialization.load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _unusable(f"{KEY_SETTING} {file} is no private key without a password.") from error
    if not isinstance(key, rsa.RSAPrivateKey) or not 2048 <= key.key_size <= 4096:
        raise _unusable(f"{KEY_SETTING} {file} is no RSA key of 2048 to 4096 bits.")
    return key


def _certificate(der: bytes, file: Path) -> x509.Certificate:
    try:
        return x509.load_der_x509_certificate(der)
    except ValueError as error:
        raise _unusable(f"{file} is no certificate.") from error


def _uri_of(certificate: x509.Certificate, file: Path) -> str:
    """Return the application that a certificate is for: clients compare it with what the server says."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    except (x509.ExtensionNotFound, ValueError):
        uris = []
    if not uris:
        raise _unusable(f"The certificate {file} names no application URI.")
    return uris[0]


def _unusable(problem: str) -> ConfigError:
    return ConfigError(problem, "Replace the file; where key and certificate are missing, both are made.")
