"""Run as a program: append to an audit log until killed; name each entry that is on the disk."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from edge.audit.entry import Note
from edge.audit.log import AuditLog


def main() -> None:
    """Append, and write the head of each entry to stdout."""
    log = AuditLog(Path(sys.argv[1]), most_bytes=int(sys.argv[2]))
    while True:
        head = log.append([Note("settings", "stop", {"why": "x" * 300})])
        os.write(1, f"{head}\n".encode())


if __name__ == "__main__":
    main()
