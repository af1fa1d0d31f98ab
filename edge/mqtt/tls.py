"""Set up TLS to the broker: its certificate and name are checked, this device's certificate is shown."""

from __future__ import annotations

import ssl

from edge.config.mqtt import BrokerLogin
from edge.core.errors import ConfigError
from edge.core.outside_files import SETTINGS_BYTES, check_private, open_outside


def tls_context(settings: BrokerLogin) -> ssl.SSLContext | None:
    """Return the context of a connection; None where the broker is reached without TLS.

    Raises:
        ConfigError: if a file of certificates cannot be used, or others may read the key.
    """
    if not settings.is_encrypted:
        return None
    key = settings.key_file or settings.certificate_file
    if key is not None:
        check_private(key, "mqtt.key_file" if settings.key_file else "mqtt.certificate_file")
    for file in (settings.ca_file, settings.certificate_file, settings.key_file):
        if file is not None:  # OpenSSL would read a pipe or a device for ever
            open_outside(file, SETTINGS_BYTES).close()
    try:
        context = ssl.create_default_context(cafile=str(settings.ca_file) if settings.ca_file else None)
        if settings.certificate_file is not None:
            context.load_cert_chain(settings.certificate_file, settings.key_file, password=_no_passphrase)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"The certificates for {settings.broker} cannot be used: {error}.",
            "Check mqtt.ca_file, certificate_file and key_file.",
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _no_passphrase() -> str:
    """Refuse a key that wants a passphrase: OpenSSL would ask for it on a terminal that a service lacks."""
    raise ConfigError(
        "mqtt.key_file wants a passphrase, and nobody is there to type it.",
        "Store it without: `openssl pkey -in KEY -out NEW`, and `chmod 600` it.",
    )
