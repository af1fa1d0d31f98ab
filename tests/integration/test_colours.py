"""No output has a colour that is not of the palette: images, pages, reports, plots."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from edge.core import palette
from edge.core.palette import Colour

ROOT = Path(__file__).resolve().parents[2]
PALETTE = ROOT / "edge" / "core" / "palette.py"
FOLDERS = ("edge", "distill", "export", "docs/images", "docs/benchmarks")
FILES = sorted(
    path
    for folder in FOLDERS
    for path in (ROOT / folder).rglob("*")
    if path.suffix in (".py", ".js", ".css", ".html", ".svg")
    and path != PALETTE
    and path.parent.name != "demo_bundle"  # its page was made by export, with the palette in it
)

IN_TEXT = re.compile(
    r"#(?:[0-9a-f]{8}|[0-9a-f]{6}|[0-9a-f]{3,4})(?![\w-])"
    r"|\b(?:rgba?|hsla?|hwb|oklch|lab)\("
    r"|\b(?:fill|stroke|color|background)\s*[:=]\s*[\"']?"
    r"(?:white|black|red|green|blue|yellow|orange|gr[ae]y|silver|purple)\b",
    re.IGNORECASE,
)
"""A colour in CSS, SVG or JavaScript."""

VARIABLE = re.compile(r"(?:var|colour)\([\"']?(--[\w-]+)")
"""A colour that CSS or the map takes from the palette."""

NAMED = re.compile(
    r"(?:tab:)?(?:red|green|blue|orange|purple|brown|pink|gr[ae]y|olive|cyan|black|white|yellow|magenta)"
    r"|C\d|[bgrcmykw]"
)
"""A colour in matplotlib; greys as ``"0.6"`` are none: they tell no class and no series apart."""

COLOUR_ARGUMENTS = re.compile(
    r"(?:.*_)?colou?rs?(?:_\w+)?|(?:face|edge|marker\w*)colou?r|c|cmap|borderValue|fc|ec|mfc"
)
DRAWING = {
    "rectangle", "putText", "line", "polylines", "fillPoly", "fillConvexPoly", "circle", "ellipse",
    "arrowedLine", "drawContours", "drawMarker", "copyMakeBorder", "warpAffine", "warpPerspective", "full",
}  # fmt: skip
COLOUR_NAME = re.compile(r"(?:_|\b)(?:COLOU?RS?|BGR|RGB|INK|PAPER|MARK|WHITE|BLACK)(?:_|\b)")


def in_palette() -> set[str]:
    """Return all colours of the palette as CSS writes them."""
    colours = {value for value in vars(palette).values() if isinstance(value, Colour)}
    colours |= {*palette.LIGHT_THEME.values(), *palette.DARK_THEME.values()}
    return {colour.hex for colour in colours}


def without_docstrings(tree: ast.Module) -> ast.Module:
    """Take away strings that stand for themselves: docstrings and the text below constants."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            node.value = ast.Constant(None)
    return tree


def is_triple(node: ast.AST) -> bool:
    """Say whether a node is written as three numbers from 0 to 255."""
    return (
        isinstance(node, ast.Tuple | ast.List)
        and len(node.elts) == 3
        and all(isinstance(part, ast.Constant) and isinstance(part.value, int) for part in node.elts)
    )


def colours_of_python(source: str) -> list[str]:
    """Return the colours that a module spells out itself."""
    found = []
    for node in ast.walk(without_docstrings(ast.parse(source))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found += IN_TEXT.findall(node.value)
        elif isinstance(node, ast.Call):
            found += of_call(node)
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if COLOUR_NAME.search(" ".join(map(ast.unparse, targets))):
                found += [ast.unparse(part) for part in ast.walk(node.value) if is_triple(part)]
    return found


def of_call(call: ast.Call) -> list[str]:
    """Return the colours among the arguments of a call."""
    name = ast.unparse(call.func).split(".")[-1]
    found = []
    for argument in call.keywords:
        value = argument.value
        if argument.arg and COLOUR_ARGUMENTS.fullmatch(argument.arg):
            words = [part.value for part in ast.walk(value) if isinstance(part, ast.Constant)]
            found += [word for word in words if isinstance(word, str) and NAMED.fullmatch(word)]
            found += [word for word in words if isinstance(word, str) and argument.arg == "cmap"]
    if name in DRAWING:
        values = [*call.args, *(argument.value for argument in call.keywords)]
        # A size or a place has two numbers, a colour three.
        found += [ast.unparse(value) for value in values[1 if name == "full" else 0 :] if is_triple(value)]
    if name == "Figure" and any(argument.arg == "figsize" for argument in call.keywords):
        found.append("Figure(...) without the colours of the palette: take distill.core.figures.new_figure")
    return found


def foreign_colours(path: Path) -> list[str]:
    """Return the colours of a file that are not of the palette."""
    text = path.read_text(encoding="utf-8")
    found = colours_of_python(text) if path.suffix == ".py" else IN_TEXT.findall(text)
    return [colour for colour in found if path.suffix != ".svg" or colour.lower() not in in_palette()]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_spells_a_colour_out_that_the_palette_does_not_have(path):
    assert foreign_colours(path) == []


@pytest.mark.parametrize("dark", [True, False], ids=["pages", "report"])
def test_every_variable_that_a_page_takes_is_of_the_palette(dark):
    texts = {path: path.read_text(encoding="utf-8") for path in FILES if path.suffix != ".svg"}
    wanted = {name: path for path, text in texts.items() for name in VARIABLE.findall(text)}
    declared = set(re.findall(r"(--[\w-]+):", palette.stylesheet(dark=dark)))
    assert len(wanted) > 10
    assert {name: path.name for name, path in wanted.items() if name not in declared} == {}


@pytest.mark.parametrize(
    "source",
    [
        'page = "<i style=background:#d55e00>"',
        "page = \"<b style='color: red'>\"",
        'page = f"<rect fill=\\"white\\" width={w}>"',
        "cv2.rectangle(image, low, high, (0, 0, 255), 2)",
        "cv2.warpAffine(image, move, (8, 8), borderValue=(245, 245, 245))",
        "axes.plot(x, y, color='tab:blue')",
        "axes.plot(x, y, color='C0')",
        "axes.barh(x, y, color=['red', 'k'])",
        "axes.imshow(values, cmap='Blues')",
        "BOX_COLOURS = ((1, 2, 3), (4, 5, 6))",
        "GROUND_TRUTH_BGR, FOUND_BGR = (80, 200, 80), (60, 60, 230)",
        "figure = Figure(figsize=(3, 3))",
        "sheet = np.full((8, 8, 3), (245, 245, 245), np.uint8)",
    ],
)
def test_a_colour_is_found_however_it_is_written(source):
    assert len(colours_of_python(source)) >= 1


@pytest.mark.parametrize(
    "source",
    [
        '"""The colour #d55e00."""',
        "cv2.rectangle(image, low, high, class_colour(name).bgr, 2)",
        "axes.plot(x, y, color=BLUE.hex)",
        "axes.plot(x, y, color='0.6')",
        "levels = (8, 16, 32)",
        "sheet = np.full((8, 8, 3), PAPER.bgr, np.uint8)",
        'page = "<use href=\'#i-defect\'><rect fill=\\"url(#gap)\\">"',
        'page = "color-scheme: light dark; background: var(--card)"',
    ],
)
def test_what_is_no_colour_is_left_alone(source):
    assert colours_of_python(source) == []
