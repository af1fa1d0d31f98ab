"""Parse and redact addresses of cameras."""

from __future__ import annotations

import re


def redact_credentials(url: str) -> str:
    """Hide whatever of a URL may be a credential, for messages, logs and records.

    User and password: everything up to the last @ goes: passwords with an @ or a slash are common.
    The query and the fragment, whole: `?user=admin&pwd=...`. The path from its first segment with an equals
    sign: recorders take `/user=admin_password=..._channel=1`. Where an @ stands behind a ? or a #, nobody
    can tell a password from a query, and all of the address goes.
    """
    scheme, mark, rest = url.partition("://")
    if not mark:
        return url
    if re.search(r"[?#].*@", rest, re.DOTALL):
        return f"{scheme}://***"
    _user, at, address = rest.rpartition("@")
    address = re.sub(r"[?#].*", "?***", address, flags=re.DOTALL)
    address = re.sub(r"/[^/=?]*=.*", "/***", address, flags=re.DOTALL)
    return f"{scheme}://{'***@' if at else ''}{address}"
