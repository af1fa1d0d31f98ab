"""The documentation site: what `make docs` does not notice by itself."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
API = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"^::: ([\w.]+)\n(?: .*\n)*? +members: \[([^]]+)\]", API, re.MULTILINE))


@pytest.mark.parametrize("module", BLOCKS)
def test_every_name_of_the_api_page_is_there(module):
    """mkdocstrings leaves a name out that is not there, and says nothing."""
    home = importlib.import_module(module)
    assert [name for name in BLOCKS[module].split(", ") if not hasattr(home, name)] == []


def test_the_api_page_lists_members_of_every_module():
    assert len(BLOCKS) == API.count("\n::: ")
    assert len(BLOCKS) > 4


def test_the_site_has_every_page_once():
    listed = re.findall(r"[\w/-]+\.md$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert sorted(listed) == sorted(pages)


@pytest.mark.parametrize(
    "page", ["README.md", *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
)
def test_images_in_html_are_there(page):
    """mkdocs does not follow `<img src=…>`."""
    file = ROOT / page
    sources = re.findall(r'<img src="([^"]+)"', file.read_text(encoding="utf-8"))
    assert [source for source in sources if not (file.parent / source).is_file()] == []
