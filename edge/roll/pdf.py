"""Print the HTML page of a roll to PDF, with a headless Chromium."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from edge.core.errors import MissingPackageError, OutputError

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
LONGEST_S = 180


def find_browser() -> str:
    """Return the path of a Chromium.

    Raises:
        MissingPackageError: if there is none.
    """
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        raise MissingPackageError(
            "A PDF is printed by Chromium, and there is none here.",
            "Run `apt-get install chromium`, or print the HTML page from any browser.",
        )
    return found


def pdf_of(page: str, browser: str) -> bytes:
    """Print an HTML page.

    Args:
        page: whole, with nothing beside it.
        browser: path of a Chromium.
    Raises:
        OutputError: if the browser does not give a PDF.
    """
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "page.html", Path(folder) / "page.pdf"
        source.write_text(page, encoding="utf-8")
        command = [
            browser,
            "--headless",
            "--disable-gpu",
            "--no-first-run",
            f"--user-data-dir={folder}/profile",
            "--no-pdf-header-footer",
            f"--print-to-pdf={target}",
            source.as_uri(),
        ]
        if os.geteuid() == 0:  # as root Chromium starts in no other way; the page is ours and has no script
            command.insert(1, "--no-sandbox")
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_S, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise OutputError(
                f"{browser} cannot print: {error}.", "Print the HTML page instead."
            ) from error
        data = target.read_bytes() if target.exists() else b""
    if not data.startswith(b"%PDF"):
        lines = done.stderr.strip().splitlines()
        raise OutputError(
            f"{browser} gave no PDF (exit code {done.returncode}): {lines[-1] if lines else 'no message'}.",
            "Print the HTML page instead.",
        )
    return data
