"""Write diagrams to files."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from matplotlib.figure import Figure

from edge.core.files import write_whole


def plain(text: str) -> str:
    """Return a name for matplotlib, which takes what stands between two dollar signs for a formula."""
    return text.replace("$", r"\$")


def write_figure(figure: Figure, file: Path) -> None:
    """Write a diagram as PNG.

    Raises:
        OutputError: if it cannot be written.
    """
    image = BytesIO()
    figure.savefig(image, format="png", metadata={"Software": None})
    write_whole(file, image.getvalue())
