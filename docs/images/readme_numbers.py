"""Write the numbers of the README from the benchmarks that measured them.

Usage: python docs/images/readme_numbers.py
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from edge.core.files import write_whole

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
BENCHMARKS = ROOT / "docs" / "benchmarks"

METRES_JUDGED: Final = 6 * 8
"""Rolls of the demo's benchmark times their metres."""


class Number(NamedTuple):
    """Say where in the README a number stands, and what it is.

    Attributes:
        place: words around it, once in the README; `{}` stands for the number.
        benchmark: name of the JSON file.
        path: of the value in it.
        form: in which it is written.
        scale: what it is multiplied by first.
    """

    place: str
    benchmark: str
    path: tuple[str | int, ...]
    form: str
    scale: float = 1.0


_FAST = ("two_cores", 0, "shapes", "4096 px line camera")
_BESIDE = ("shapes", "4096 px line camera", "with_reference", "ratio")
_TAUGHT = "with_reference_5e1a985"

NUMBERS: Final = (
    Number("**{}** m/min", "lines", (*_FAST, "capacity", "m_per_min"), ".1f"),
    Number("**{}** m at 0.2", "lines", (*_FAST, "capacity", "width_m"), ".2f"),
    Number("nothing taught: recall **{}**", "demo", ("judged", "its article", "recall"), ".3f"),
    Number("**{}** to **", "demo", ("judged", "its article", "false"), ".1f", 100 / METRES_JUDGED),
    Number("to **{}** false alarms", "demo", ("judged", "any cloth", "false"), ".1f", 100 / METRES_JUDGED),
    Number("**{} of", "taught", ("whole", "hits"), "d"),
    Number(" of {}** defects", "taught", ("whole", "truths"), "d"),
    Number("**{}** false alarms on", "taught", ("whole", "false_alarms"), "d"),
    Number("false alarms on {} clean strips ([taught]", "taught", ("whole", "clean_strips"), "d"),
    Number("reached were {} at", "taught", ("whole", "recall"), ".2f"),
    Number("at {}, on strips looked at", "taught", ("whole", "false_alarms_per_clean_strip"), ".2f"),
    Number("**{}** s for 10 m", "lines", (_TAUGHT, "teach_10_m_of_2048_px_s"), ".1f"),
    Number("**{}** where 1 was promised", "promises", ("realised_over_asked", "1"), ".1f"),
    Number("**{}** where 3 were", "promises", ("realised_over_asked", "3"), ".1f", 3),
    Number("**{}** where 10 were", "promises", ("realised_over_asked", "10"), ".1f", 10),
    Number("**{}** MiB of memory", "soak", ("quarters", 3, "rss_mib"), ".1f"),
    Number("it leaves **{}** of the speed", "lines", (_TAUGHT, "two_threads", *_BESIDE), ".3f"),
    Number("**{}** where one core is free", "lines", (_TAUGHT, "one_thread", *_BESIDE), ".3f"),
    Number("it finds {} of", "real-cloth", ("aitex", "operating", "hits"), "d"),
    Number("of {} defects and raises", "real-cloth", ("aitex", "truths"), "d"),
    Number("PaDiM has the higher AUROC there ({} against", "reference",
           ("others", "PaDiM, strides 4, 8 and 16", "auroc_mean"), ".3f"),
    Number("against {}), at", "reference", ("as shipped", "auroc_mean"), ".3f"),
    Number("at {} ms a tile against", "reference",
           ("others", "PaDiM, strides 4, 8 and 16", "processor_ms_per_tile"), ".0f"),
    Number("ms a tile against {}", "reference", ("as shipped", "processor_ms_per_tile"), ".1f"),
)  # fmt: skip
"""All that the README takes from benchmarks."""


def main() -> None:
    """Write the README, and say which numbers are new."""
    before = README.read_text(encoding="utf-8")
    after, changes = with_numbers(before)
    write_whole(README, after.encode())
    print("\n".join(changes) or "the README has the numbers of the benchmarks already")


def with_numbers(text: str) -> tuple[str, list[str]]:
    """Return the README with the numbers of the benchmarks, and what was changed.

    Raises:
        ValueError: if a place does not stand in it once.
    """
    changes = []
    for number in NUMBERS:
        start, end = span_of(number, text)
        value = format(_value(number), number.form)
        if text[start:end] != value:
            changes.append(f"{number.place.format(text[start:end])}  ->  {value}  ({number.benchmark})")
        text = text[:start] + value + text[end:]
    return text, changes


def span_of(number: Number, text: str) -> tuple[int, int]:
    """Return where in a text a number begins and ends.

    Raises:
        ValueError: if its place does not stand in it once.
    """
    head, tail = (re.escape(part).replace(r"\ ", r"\s+") for part in number.place.split("{}"))
    found = list(re.finditer(rf"{head}(\d+(?:\.\d+)?){tail}", text))
    if len(found) != 1:
        raise ValueError(f"'{number.place}' stands {len(found)} times in the README")
    return found[0].span(1)


def _value(number: Number) -> float:
    value: Any = _measured(number.benchmark)
    for key in number.path:
        value = value[key]
    measured: float = value if number.scale == 1.0 else value * number.scale
    return measured


@lru_cache
def _measured(name: str) -> dict[str, Any]:
    measured: dict[str, Any] = json.loads((BENCHMARKS / f"{name}.json").read_text(encoding="utf-8"))
    return measured


if __name__ == "__main__":
    main()
