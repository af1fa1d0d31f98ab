"""Write the systemd unit of a device, for `loomsight service print`."""

from __future__ import annotations

import re
from pathlib import Path
from shlex import quote

from edge.core.errors import ConfigError

UNIT = Path(__file__).with_name("loomsight.service")


def unit_text(program: Path, config: Path, user: str, watchdog_s: int) -> str:
    """Return the unit with its places filled in.

    Args:
        program: edge-run, absolute.
        config: settings of the device, absolute.
        user: to run as.
        watchdog_s: 0 for no watchdog.
    Raises:
        ConfigError: if a path is not absolute, or systemd would read it or the user in another way.
    """
    for path in (program, config):
        if not path.is_absolute() or not re.fullmatch(r"[\w/.+@:-]+", str(path)):
            raise ConfigError(f"{path} cannot stand in a unit.", "Name an absolute path without spaces.")
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]{0,30}|[0-9]{1,9}", user):
        raise ConfigError(
            f"{user!r} cannot be a user in a unit.", "Name a user of this system, in letters and digits."
        )
    text = UNIT.read_text(encoding="utf-8")
    places = {
        "PROGRAM": quote(str(program)),
        "CONFIG": quote(str(config)),
        "USER": user,
        "WATCHDOG": str(watchdog_s),
    }
    return re.sub(r"\{(\w+)\}", lambda place: places[place[1]], text)
