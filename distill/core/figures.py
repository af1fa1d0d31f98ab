"""Make diagrams and write them to files; matplotlib is loaded when the first is drawn."""

from __future__ import annotations

from functools import cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.core.files import write_whole
from edge.core.palette import SERIES, SHADES

if TYPE_CHECKING:
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.figure import Figure


def new_figure(size_in: tuple[float, float]) -> Figure:
    """Return a figure whose axes draw lines and bars in the colours of the palette, one after the other.

    Args:
        size_in: width and height.
    """
    return _figure_class()(figsize=size_in, layout="constrained")


@cache
def _figure_class() -> type[Figure]:
    from matplotlib.figure import Figure

    class Coloured(Figure):
        def add_subplot(self, *args: Any, **kwargs: Any) -> Any:
            axes = super().add_subplot(*args, **kwargs)
            axes.set_prop_cycle(color=[colour.hex for colour in SERIES])
            return axes

    return Coloured


def shades() -> LinearSegmentedColormap:
    """Return the colours from none to all, for a diagram that shades."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("shades", [colour.hex for colour in SHADES])


def count_epochs(axes: Any) -> None:
    """Give a diagram an axis of epochs: its ticks are whole numbers, however few epochs there are."""
    from matplotlib.ticker import MaxNLocator

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
