"""Field words in code, help, pages and guides; short sentences and measured numbers in the README."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from edge.core.taxonomy import load_taxonomy

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
README = ROOT / "README.md"
GUIDES = [README, *sorted(DOCS.glob("*.md"))]

BANNED = {
    r"pictures?": "image, or frame from a camera",
    r"photo(graph)?s?": "image",
    r"(?<!ground )truth": "ground truth",
    r"passed over": "skipped",
    r"for nobody": "None to disable",
    r"anew": "again",
    r"begun": "started",
    r"by right": "legitimately",
    r"as ever": "by default",
    r"shar(ed|es) out": "split",
    r"multiplications": "MACs",
    r"(this box|box beside (a|the) loom|on a box|a box that runs)": "device",
    r"let(s|ting)? in": "authorise",
    r"(lines|those) that passed": "lines delivered",
    r"suppression of doubles": "non-maximum suppression (NMS)",
    r"\d+ % sure": "confidence 0.65",
    r"half under": "p50",
    r"wish(es)?": "request",
    r"in hand": "current",
    r"persons": "people",
    r"afresh": "again",
    r"besides": "in addition",
    r"go(es)? on": "continue",
    r"for so long": "for this long",
    r"so (many|much)": "this many, this much",
    r"stands? (in|there)": "is in",
    r"vouch(es)?": "sign, declare",
    r"thousand millions": "billions",
    r"(carry|carries) (a|the|that) promise": "support a promise",
}
"""Pattern of a word that is not used, and the field word in its place."""

QUOTED = re.compile(
    r"```.*?^```|`[^`\n]+`|\]\([^)\s]+\)|<[a-z][^>]*>|(?<![*\w])\*[^*\n]+\*(?!\*)", re.DOTALL | re.MULTILINE
)
"""Code, names of settings, link targets, HTML, and words that a page or the terminal shows (in italics)."""

LONGEST_SENTENCE = 40
"""Words of a sentence."""

LONGEST_GUIDE = 120
"""Lines of a guide: three screens."""


NOWHERE = {
    r"picture": "image, or frame from a camera",
    r"photo": "image",
    r"passed[\s_#]+over": "skipped",
    r"for[\s#]+nobody": "None to disable",
    r"wish(?!bone)": "request",
    r"lesson": "example, or batch outputs",
    r"asker": "request source",
    r"anew": "again",
    r"begun": "started",
    r"shares?[\s_#]+of\b": "fraction of",
    r"multiplications": "MACs",
    r"\bin[\s_#]+hand\b": "current",
    r"\bpersons\b": "people",
    r"\bafresh\b": "again",
}
"""Pattern of a word that stands in no identifier, text, help or page, and the field word in its place."""

SCANNED = (".py", ".md", ".html", ".js", ".css", ".toml", ".yml", ".sh", ".service", ".txt")
NOT_SCANNED = ("CHANGELOG.md", "tests/integration/test_words_of_docs.py")

INTERFACE = re.compile(
    r"""
    # flags, settings and the keys of files that users' scripts name
    save[-_]pictures | pictures[-_]gb | --pictures\b | runs/demo/pictures
    | shard_pictures | validation_pictures | picture_epochs | golden_pictures
    | [`,]pictures[`=] | \bpictures:\ (?=str) | \._options\.pictures\b
    # keys of JSON, CSV and columns of the roll record
    | ["']pictures?["'] | \bpicture\ TEXT | \bpicture:\ Text | \bcells\.picture\b
    | \bwish\ TEXT | \bwish\ FROM
    # keys of the index of a recording
    | \bpicture:\ str\b | \bpicture_bytes\b | \bentry\.picture\b
    # kinds of events
    | \b(?:roll|teaching)\ begun\b
    """,
    re.VERBOSE,
)
"""Names that users' programs read and write today: they stay as they are."""


def tracked_texts() -> list[str]:
    """Return the names of all texts of the repository but recorded results."""
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    names = [*filter(lambda name: name.endswith(SCANNED), listed.splitlines()), "Makefile", ".ci/run"]
    return [name for name in names if name not in NOT_SCANNED and (ROOT / name).is_file()]


def words_of(text: str) -> list[str]:
    """Return the words of a text that stand nowhere, each with the word to use."""
    rest = INTERFACE.sub(" ", text)
    return [
        f"{rest[max(match.start() - 30, 0) : match.end() + 10]!r}: say {better}"
        for pattern, better in NOWHERE.items()
        for match in re.finditer(pattern, rest, re.IGNORECASE)
    ]


def prose(page: Path) -> str:
    """Return the text of a page without what it quotes."""
    return QUOTED.sub(" ", page.read_text(encoding="utf-8"))


def found_words(text: str) -> list[str]:
    """Return the banned words of a text, each with the word to use."""
    return [
        f"{match.group()}: say {better}"
        for pattern, better in BANNED.items()
        for match in re.finditer(rf"\b{pattern}\b", text, re.IGNORECASE)
    ]


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.name)
def test_a_guide_uses_field_words(page):
    assert found_words(prose(page)) == []


def test_a_banned_word_is_found_and_a_quoted_one_is_not(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "A Picture of the truth, `save_pictures`, [x](pictures/x.jpg), *No picture*.\n\nGround truth.\n"
    )
    assert found_words(prose(page)) == [
        "Picture: say image, or frame from a camera",
        "truth: say ground truth",
    ]


@pytest.mark.parametrize("room", ["edge", "distill", "export", "tests", "docs", ""])
def test_code_help_and_pages_use_field_words(room):
    files = [name for name in tracked_texts() if (name.split("/")[0] if "/" in name else "") == room]
    assert files
    found = {name: words_of(f"{name}\n{(ROOT / name).read_text(encoding='utf-8')}") for name in files}
    assert {name: words for name, words in found.items() if words} == {}


@pytest.mark.parametrize(
    "text",
    [
        "def draw_picture(image): ...",
        "class RollWish:",
        "THE_LESSONS = 3",
        "# what was passed\n# over",
        "a share\n    of the frames",
        "None for nobody",
        "raise BackendError(f'{name}: begun anew')",
        "<p>Time per picture</p>",
        "share_of = 3",
    ],
)
def test_a_word_that_comes_back_is_seen(text):
    assert words_of(text)


@pytest.mark.parametrize(
    "text",
    [
        "edge-run --save-pictures found/",
        '{"picture": row.image}',
        "the event `roll begun`",
        "cameras share one",
    ],
)
def test_names_that_programs_of_users_read_stay(text):
    assert words_of(text) == []


def table_rows(heading: str) -> list[str]:
    """Return the rows of the table below a heading of the README."""
    section = README.read_text(encoding="utf-8").split(f"## {heading}\n")[1].split("\n## ")[0]
    return [line for line in section.splitlines() if line.startswith("| ")][1:]


@pytest.mark.parametrize(
    "row", table_rows("Five numbers that a mill asks for"), ids=lambda row: row.split("|")[1].strip()
)
def test_a_number_of_the_readme_stands_in_a_benchmark_that_its_row_links(row):
    numbers = re.findall(r"\*\*([^*]+)\*\*", row)
    targets = re.findall(r"\((docs/benchmarks/[\w-]+\.md)\)", row)
    assert numbers
    assert targets
    measured = "\n".join((ROOT / target).read_text(encoding="utf-8") for target in targets)
    assert [
        number
        for number in numbers
        if not re.search(rf"(?<![\d.]){re.escape(number)}(?![\d]|\.\d)", measured)
    ] == []


def test_the_readme_asks_five_questions_and_begins_with_the_two_commands():
    assert len(table_rows("Five numbers that a mill asks for")) == 5
    first = re.findall(r"^```sh\n(.*?)^```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)[
        0
    ]
    assert first.splitlines() == ["make demo", "make test"]


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.name)
def test_no_sentence_is_long(page):
    paragraphs = re.split(r"\n\s*\n|\||\n\s*(?:-|\d\.) |^#.*$", prose(page), flags=re.MULTILINE)
    sentences = [one for paragraph in paragraphs for one in re.split(r"(?<=[.:;?!])\s", paragraph)]
    assert [one for one in sentences if len(one.split()) > LONGEST_SENTENCE] == []


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.name)
def test_a_guide_is_short(page):
    assert len(page.read_text(encoding="utf-8").splitlines()) <= LONGEST_GUIDE


def test_the_glossary_says_what_every_class_and_kind_is():
    text = (DOCS / "glossary.md").read_text(encoding="utf-8")
    rows = {row.split("`")[1]: row for row in text.splitlines() if row.startswith("| `")}
    taxonomy = load_taxonomy()
    assert set(rows) == {*taxonomy.classes, "unclassified"}
    assert [kind.category for kind in taxonomy.kinds if kind.category not in rows[kind.parent]] == []


@pytest.mark.parametrize(
    "page", ["README.md", "docs/index.md", "docs/taxonomy.md", "docs/edge-run.md", "docs/teach.md"]
)
def test_the_glossary_is_linked(page):
    assert "glossary.md" in (ROOT / page).read_text(encoding="utf-8")
