"""Is the rate of false alarms kept that was asked for? Simulated clean cloth, by the commands themselves.

Usage: python docs/benchmarks/promises.py OUT.json --folder FOLDER [--metres 100] [--taught 30]
           [--rates 1 3 10] [--articles 5] [--rolls 1] [--width-px 256]

Each article is taught on the first metres of each of its rolls at each rate with `loomsight teach
--false-alarms-per-100m`; then `edge-run --reference` inspects that roll from its beginning, and what its
record holds beyond the taught metres is counted: detector and reference model together, every report.
Before that a promise is asked for that the taught metres cannot carry; it has to be refused.

What is in the folder already is not done again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from itertools import product
from pathlib import Path
from typing import Any

from commands import loomsight

from edge.backends.probe import processor_name
from edge.roll.reading import read_roll

ARTICLES = (
    "weave=plain,warp_pitch_px=5,weft_pitch_px=5,mean_grey=110",
    "weave=twill,warp_pitch_px=4,weft_pitch_px=6,mean_grey=90",
    "weave=satin,warp_pitch_px=6,weft_pitch_px=4,mean_grey=140",
    "weave=plain,warp_pitch_px=3.5,weft_pitch_px=7,mean_grey=70",
    "weave=twill,warp_pitch_px=8,weft_pitch_px=5,mean_grey=170",
)
BEYOND = 0.1
"""False alarms per 100 m that 30 m of clean cloth cannot carry."""


def main() -> None:
    """Teach, inspect, count; write and print it."""
    arguments = _arguments()
    articles = []
    numbered = list(enumerate(ARTICLES[: arguments.articles]))
    for nth, (number, cloth) in product(range(arguments.rolls), numbered):
        folder = arguments.folder / f"{number}-{nth}"
        folder.mkdir(parents=True, exist_ok=True)
        seed = 100 * (nth + 1) + number
        roll = f"loom:seed={seed},{cloth},width_px={arguments.width_px},defects_per_m=0"
        roll += ",bed_left_mm=-20,bed_right_mm=-20"
        row: dict[str, Any] = {"cloth": cloth, "seed": seed, "refused": is_refused(folder, roll, arguments)}
        row["false_alarms"] = {
            f"{rate:g}": false_alarms(folder, roll, rate, arguments) for rate in arguments.rates
        }
        articles.append(row)
        print(json.dumps(row), flush=True)
    result = {"processor": processor_name(), **_settings(arguments), "articles": articles}
    result["realised_over_asked"] = {
        f"{rate:g}": round(_realised(articles, rate) / (rate * len(articles) * arguments.metres / 100), 3)
        for rate in arguments.rates
    }
    arguments.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result["realised_over_asked"]))


def is_refused(folder: Path, roll: str, arguments: argparse.Namespace) -> bool:
    """Ask for a promise that the cloth cannot carry; tell whether it was refused with the right code."""
    done = folder / "refused.json"
    if not done.is_file():
        try:
            _teach(folder, roll, BEYOND, arguments, "too-much")
            code = 0
        except subprocess.CalledProcessError as error:
            code = error.returncode
        done.write_text(json.dumps(code), encoding="utf-8")
    return bool(json.loads(done.read_text(encoding="utf-8")) == 50)


def false_alarms(folder: Path, roll: str, rate: float, arguments: argparse.Namespace) -> dict[str, int]:
    """Teach at a rate and inspect; return reports beyond the taught metres, by class."""
    article, done = f"article-{rate:g}", folder / f"reports-{rate:g}.json"
    if not done.is_file():
        _teach(folder, roll, rate, arguments, article)
        record = folder / f"rolls-{rate:g}.db"
        record.unlink(missing_ok=True)
        camera = f"{roll},length_m={arguments.taught + arguments.metres:g}"
        loomsight(
            folder, "edge-run", "--camera", camera, "--reference", article, "--threads", "1",
            "--roll-record", record.name, "--roll", "roll", log=folder / "log.txt",
        )  # fmt: skip
        counts: dict[str, int] = {}
        for defect in read_roll(record, "roll").defects:
            if defect.defect.start_m >= arguments.taught:
                label = defect.defect.class_name
                counts[label] = counts.get(label, 0) + 1
        done.write_text(json.dumps(counts), encoding="utf-8")
    counted: dict[str, int] = json.loads(done.read_text(encoding="utf-8"))
    return counted


def _teach(folder: Path, roll: str, rate: float, arguments: argparse.Namespace, out: str) -> None:
    camera = f"{roll},length_m={arguments.taught:g}"
    loomsight(
        folder, "teach", "--article", f"cloth {folder.name}", "--camera", camera,
        "--false-alarms-per-100m", f"{rate:g}", "--out", out, "--overwrite", "--threads", "1",
        log=folder / "log.txt",
    )  # fmt: skip


def _realised(articles: list[dict[str, Any]], rate: float) -> int:
    return sum(sum(row["false_alarms"][f"{rate:g}"].values()) for row in articles)


def _settings(arguments: argparse.Namespace) -> dict[str, float]:
    return {
        "taught_m": arguments.taught,
        "judged_m": arguments.metres,
        "width_px": arguments.width_px,
        "asked_beyond": BEYOND,
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--folder", type=lambda text: Path(text).resolve(), required=True)
    parser.add_argument("--metres", type=float, default=100.0)
    parser.add_argument("--taught", type=float, default=30.0)
    parser.add_argument("--rates", type=float, nargs="+", default=[1.0, 3.0, 10.0])
    parser.add_argument("--articles", type=int, default=len(ARTICLES))
    parser.add_argument("--rolls", type=int, default=1, help="of each article")
    parser.add_argument("--width-px", type=int, default=256)
    return parser.parse_args()


if __name__ == "__main__":
    main()
