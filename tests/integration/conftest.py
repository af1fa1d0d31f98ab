"""What several integration tests share."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from edge.commands.teach_cli import app as teach_app
from tests.conftest import write_bright_cell_bundle
from tests.integration.articles import CLEAN
from tests.integration.browsing import CHROMIUM


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    """A detector that sees bright cells alone: it has a name for little that this cloth shows."""
    return write_bright_cell_bundle(tmp_path_factory.mktemp("detector") / "bundle")


@pytest.fixture(scope="module")
def article(detector, tmp_path_factory):
    """An article that was taught by the command."""
    out = tmp_path_factory.mktemp("articles") / "twill"
    flags = ["--article", "twill 220", "--model", detector, "--camera", CLEAN, "--out", out]
    done = CliRunner().invoke(teach_app, list(map(str, [*flags, "--false-alarms-per-100m", 100])))
    assert done.exit_code == 0, done.output
    return out
