"""Write diagrams to files."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from edge.core.files import write_whole
from edge.core.palette import SERIES, SHADES


class Diagram(Figure):
    """Draw lines and bars in the colours of the palette.

    Args:
        size_in: width and height.
    """

    def __init__(self, size_in: tuple[float, float]) -> None:
        super().__init__(figsize=size_in, layout="constrained")

    def add_subplot(self, *args: Any, **kwargs: Any) -> Any:
        """Return axes whose lines and bars take the colours of the palette, one after the other."""
        axes = super().add_subplot(*args, **kwargs)
        axes.set_prop_cycle(color=[colour.hex for colour in SERIES])
        return axes


def shades() -> LinearSegmentedColormap:
    """Return the colours from none to all, for a diagram that shades."""
    return LinearSegmentedColormap.from_list("shades", [colour.hex for colour in SHADES])


def count_epochs(axes: Any) -> None:
    """Give a diagram an axis of epochs: its ticks are whole numbers, however few epochs there are."""
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    left, right = axes.get_xlim()
    if right - left < 1:  # a single epoch
        middle = round((left + right) / 2)
        axes.set_xlim(middle - 0.5, middle + 0.5)


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
