"""Build the page of a run folder: one HTML file with its style and images in it, and no network."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence
from html import escape
from io import BytesIO
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

import cv2

from edge.core.errors import OutputError
from edge.core.files import write_whole
from edge.core.image import Image
from edge.core.palette import Colour, stylesheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIGURE_IN = (4.6, 3.5)
"""Width and height of a diagram: its text can be read where it fills a phone."""

DIGITS = frozenset("0123456789+-—.,%/ ")
"""Of a cell that is a number and stands on the right."""

_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
$palette
:root { color-scheme: light; font: 16px/1.45 system-ui, sans-serif; }
:root { color: var(--text); background: var(--card); }
body { max-width: 70rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.5rem; margin: 0 0 .5rem; } h2 { font-size: 1.2rem; margin: 2rem 0 .5rem; }
p, li { max-width: 45rem; margin: .4rem 0; overflow-wrap: anywhere; }
.result { border-left: .4rem solid var(--gap); padding: .3rem .8rem; font-weight: 600; }
.better { border-color: var(--good); } .worse { border-color: var(--bad); }
.scroll { overflow-x: auto; max-width: 100%; }
table { border-collapse: collapse; margin: .6rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .7rem; text-align: left; vertical-align: top; }
th, td { border-bottom: 1px solid var(--line); }
.number { text-align: right; white-space: nowrap; }
.caption { color: var(--soft); font-size: .9rem; }
th, td { white-space: nowrap; }
.row { display: flex; flex-wrap: wrap; gap: 1rem 1.5rem; align-items: flex-start; }
figure { margin: 0; } figure.diagram { flex: 1 1 20rem; max-width: 32rem; }
figure.diagram img { width: 100%; height: auto; }
figcaption { font-size: .9rem; color: var(--soft); margin-bottom: .2rem; }
.example { border-top: 1px solid var(--line); padding-top: .5rem; flex: 0 1 auto; max-width: 100%; }
.example p { max-width: 31rem; }
.pair { display: flex; flex-wrap: wrap; gap: .5rem; }
.pair img { display: block; image-rendering: pixelated; max-width: none; }
.chip { display: inline-block; width: .8em; height: .8em; margin-right: .35em; }
.chip { border: 1px solid var(--mark-edge); }
</style>
</head>
<body>
<h1>$title</h1>
$body
</body>
</html>
""")


def write_page(file: Path, title: str, parts: Iterable[str]) -> None:
    """Write a page, whole or not at all.

    Args:
        parts: HTML, as the functions of this module give it.
    Raises:
        OutputError: if it cannot be written.
    """
    page = _PAGE.substitute(title=escape(title), palette=stylesheet(dark=False), body="\n".join(parts))
    write_whole(file, page.encode())


def section(title: str, *parts: str) -> str:
    """Return a headed part of a page."""
    return "\n".join((f"<section><h2>{escape(title)}</h2>", *parts, "</section>"))


def text(line: str) -> str:
    """Return a paragraph."""
    return f"<p>{escape(line)}</p>"


def result(line: str, is_better: bool | None = None) -> str:
    """Return the line that says what came of a run.

    Args:
        is_better: than where it started; None if that cannot be told.
    """
    kind = "" if is_better is None else " better" if is_better else " worse"
    return f'<p class="result{kind}">{escape(line)}</p>'


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "") -> str:
    """Return a table; on a narrow screen it is moved sideways, and never cut."""
    lines = [f'<p class="caption">{escape(caption)}</p>'] if caption else []
    lines.append(f'<div class="scroll" tabindex="0"><table aria-label="{escape(caption or headings[0])}">')
    heads = "".join(f'<th scope="col">{escape(name)}</th>' for name in headings)
    lines.append(f"<thead><tr>{heads}</tr></thead>")
    lines.append("<tbody>")
    lines += ["<tr>" + "".join(map(_cell, row)) + "</tr>" for row in rows]
    return "\n".join((*lines, "</tbody></table></div>"))


def _cell(value: str) -> str:
    is_number = bool(value) and any(c.isdigit() or c == "—" for c in value) and set(value) <= DIGITS
    return f'<td class="number">{escape(value)}</td>' if is_number else f"<td>{escape(value)}</td>"


def side_by_side(parts: Iterable[str]) -> str:
    """Return parts beside each other as far as the screen is wide."""
    return "\n".join(('<div class="row">', *parts, "</div>"))


def diagram(figure: Figure, description: str) -> str:
    """Return a diagram that stays sharp at any size.

    Args:
        description: for who cannot see it.
    """
    from matplotlib import rc_context

    drawn = BytesIO()
    with rc_context({"svg.hashsalt": "loomsight"}):
        figure.savefig(drawn, format="svg", metadata={"Date": None, "Creator": None})
    source = f"data:image/svg+xml;base64,{b64encode(drawn.getvalue()).decode()}"
    return f'<figure class="diagram"><img src="{source}" alt="{escape(description)}"></figure>'


def image_pair(left: tuple[str, Image], right: tuple[str, Image], caption: str) -> str:
    """Return two images at true size: a pixel of the image is a pixel of the screen.

    Args:
        left, right: what each shows, and (H, W, 3) BGR.
    """
    shown = "".join(
        f"<figure><figcaption>{escape(what)}</figcaption>{_true_size(image, f'{what}: {caption}')}</figure>"
        for what, image in (left, right)
    )
    return f'<div class="example"><p>{escape(caption)}</p><div class="pair">{shown}</div></div>'


def _true_size(image: Image, description: str) -> str:
    height, width = image.shape[:2]
    is_encoded, data = cv2.imencode(".png", image)
    if not is_encoded:
        raise OutputError(f"An image of {width} x {height} px cannot be encoded.", "Update opencv.")
    source = f"data:image/png;base64,{b64encode(data.tobytes()).decode()}"
    return f'<img src="{source}" width="{width}" height="{height}" alt="{escape(description)}">'


def legend(colours: Iterable[tuple[str, Colour]]) -> str:
    """Return which name has which colour."""
    chips = (
        f'<span class="chip" style="background:{colour.hex}"></span>{escape(name)}&emsp;'
        for name, colour in colours
    )
    return f"<p>{''.join(chips)}</p>"
