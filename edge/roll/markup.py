"""Write the parts of a report's page: tables, facts and figures, every text in them escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any


def section(title: str, *parts: str, name: str = "") -> str:
    """Write a section; its title stays with what follows it when pages break."""
    kind = f' class="{name}"' if name else ""
    return f"<section{kind}><h2>{escape(title)}</h2>{''.join(parts)}</section>"


def paragraph(text: str, name: str = "") -> str:
    """Write a paragraph."""
    kind = f' class="{name}"' if name else ""
    return f"<p{kind}>{escape(text)}</p>"


def facts(values: Mapping[str, Any], name: str = "facts") -> str:
    """Write names and values as a grid."""
    cells = "".join(
        f"<div><dt>{escape(key)}</dt><dd>{escape(str(value))}</dd></div>" for key, value in values.items()
    )
    return f'<dl class="{name}">{cells}</dl>'


def table(
    names: Sequence[str],
    rows: Iterable[Sequence[Any]],
    numbers: Iterable[int] = (),
    marks: Sequence[str] | None = None,
) -> str:
    """Write a table; on a narrow screen each row becomes a card with the names beside its values.

    Args:
        names: of the columns.
        rows: values; None and empty texts are left out of a card.
        numbers: columns that are set to the right.
        marks: colour of a mark before the first cell of each row; None for none.
    """
    kinds = {column: "n" for column in numbers}
    head = "".join(
        f'<th scope="col" class="{kinds.get(column, "t")}">{escape(name)}</th>'
        for column, name in enumerate(names)
    )
    body = "".join(
        f"<tr>{_cells(names, row, kinds, marks[index] if marks else None)}</tr>"
        for index, row in enumerate(rows)
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cells(names: Sequence[str], row: Sequence[Any], kinds: Mapping[int, str], mark: str | None) -> str:
    cells = []
    for column, (name, value) in enumerate(zip(names, row, strict=True)):
        text = "" if value is None else str(value)
        kind = kinds.get(column, "t") + ("" if text else " none")
        swatch = f'<i style="background:{mark}"></i>' if mark and column == 0 else ""
        cells.append(f'<td class="{kind}" data-name="{escape(name)}">{swatch}{escape(text)}</td>')
    return "".join(cells)
