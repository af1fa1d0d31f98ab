"""Make the bundle that ships from nothing: weave cloth, train stage by stage, export.

Usage: python docs/benchmarks/shipped.py FOLDER [--bundle edge/demo_bundle] [--weights FILE.pt]

Six hours on two cores. FOLDER keeps all that is made. After an interruption the same command goes on where
it was: what is done is not done again, a training goes on within its epoch. At the end it prints the hours
of each step, and writes them to FOLDER/hours.json.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from commands import loomsight, python

from edge.core.files import write_whole

HERE = Path(__file__).parent
SLIM = "from distill.commands.slim import app; app()"

ARTICLE = ("--weave", "plain", "--warp-pitch-px", "4", "--weft-pitch-px", "4", "--mean-grey", "120")
CROWDED = (
    "--size-hw", "768", "768", "--defects-per-m", "40", "--difficulty", "obvious", "--difficulty", "clear",
    "--difficulty", "subtle",
)  # fmt: skip
SMALL = ("--size-hw", "256", "256", "--mm-per-px", "0.2", "--defects-per-m", "25")
YARNS = ("--category", "broken end", "--category", "broken pick")
WIDE = ("--recipe", str(HERE / "demo-wide.toml"))
THRESHOLDS = ("--threshold", "wrinkle=0.5", "--threshold", "drop=0.5", "--threshold", "broken=0.35")


@dataclass(frozen=True, slots=True)
class Step:
    """Do one part of the work.

    Attributes:
        name: of the step.
        do: takes the folder; called again after an interruption, it goes on or starts over.
    """

    name: str
    do: Callable[[Path], None]


def weave(name: str, images: int, seed: int, train_share: float, *flags: str) -> Step:
    """Simulate a data set; a part of one that an interruption left is not under its final name."""
    split = f"train={train_share},val={round(1 - train_share, 4)}"

    def do(folder: Path) -> None:
        if not (folder / name).is_dir():
            counts = ("--images", str(images), "--seed", str(seed), "--workers", str(os.cpu_count() or 1))
            loomsight(folder, "simulate", "--out", name, *counts, "--split", split, *flags)

    return Step(f"weave {name}", do)


def join(name: str, *parts: str, halved: str | None = None) -> Step:
    """Join data sets into one, by hard links; of the one that is halved every second image."""

    def do(folder: Path) -> None:
        partial = folder / f"{name}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        for part in parts:
            for kind in ("images", "labels"):
                for file in (folder / part / kind).glob("*/*"):
                    if part == halved and int(file.stem) % 2:
                        continue
                    place = partial / kind / file.parent.name
                    place.mkdir(parents=True, exist_ok=True)
                    os.link(file, place / f"{part}-{file.name}")
        for file_name in ("data.yaml", "simulation.json"):
            shutil.copyfile(folder / parts[0] / file_name, partial / file_name)
        partial.rename(folder / name)

    return Step(f"join {name}", do)


def train(name: str, data: str, start: str | None, *flags: str) -> Step:
    """Train a stage from the best checkpoint of another one, or from random weights."""
    beginning = () if start is None else ("--start-from", f"{start}/best.pt")

    def do(folder: Path) -> None:
        how = ("--resume",) if (folder / name / "last.pt").is_file() else (*beginning, *flags)
        loomsight(folder, "distill", data, "--out", name, *how)

    return Step(f"train {name}", do)


def publish(run: str, images: str, bundle: Path, weights: Path | None) -> Step:
    """Export the last stage, and store its weights for trainings that start from it.

    The checkpoint without what only training needs lies beside the whole one: so the bundle carries what
    the run measured.
    """

    def do(folder: Path) -> None:
        checkpoint = f"{run}/shipped.pt"
        python(folder, SLIM, f"{run}/best.pt", checkpoint)
        loomsight(
            folder, "export", checkpoint, "--images", images, *THRESHOLDS,
            "--float16-weights", "--out", str(bundle), "--overwrite",
        )  # fmt: skip
        if weights is not None:
            write_whole(weights, (folder / checkpoint).read_bytes())

    return Step("publish", do)


STEPS: tuple[Step, ...] = (
    weave("data", 2000, 20262, 0.97, *CROWDED, *ARTICLE, "--article-share", "0.5"),
    train("general", "data", None, "--recipe", "demo"),
    weave("article", 900, 20263, 0.94, *CROWDED, *ARTICLE),
    train("first", "article", "general", "--recipe", "article"),
    train("again", "article", "first", "--recipe", "article", "--epochs", "2", "--seed", "1"),
    weave("many", 4000, 60417, 0.97, *SMALL, *ARTICLE, "--article-share", "0.3"),
    weave("more", 1700, 70711, 0.96, *SMALL, *ARTICLE, "--article-share", "0.4"),
    weave("yarns", 800, 70713, 0.99, *SMALL, *YARNS),
    join("any", "many", "more", "yarns"),
    train("last", "any", "again", "--recipe", str(HERE / "demo-any-cloth.toml")),
    weave("wide", 9000, 80801, 0.97, *SMALL, *ARTICLE, "--article-share", "0.25"),
    train("widest", "wide", "last", *WIDE),
    weave("loose", 12000, 90907, 0.97, *SMALL, *ARTICLE, "--article-share", "0.25"),
    train("loose-run", "loose", "widest", *WIDE),
    weave("streaked", 9000, 101013, 0.97, *SMALL, *ARTICLE, "--article-share", "0.25"),
    train("streaked-run", "streaked", "loose-run", "--recipe", str(HERE / "demo-streaked.toml")),
    join("both", "loose", "streaked"),
    train("both-run", "both", "streaked-run", "--recipe", str(HERE / "demo-both.toml"), "--seed", "7"),
    weave("woven", 10000, 220301, 0.97, *SMALL, "--look", "woven"),
    weave("drawn", 4000, 220302, 0.97, *SMALL, *ARTICLE, "--article-share", "0.4"),
    join("looks", "woven", "drawn"),
    train("looks-run", "looks", "both-run", "--recipe", str(HERE / "demo-looks.toml"), "--seed", "3"),
    weave("article-small", 2500, 220304, 0.97, *SMALL, *ARTICLE, "--article-share", "1.0"),
    join("end", "woven", "drawn", "article-small", halved="woven"),
    train("end-run", "end", "looks-run", "--recipe", str(HERE / "demo-end.toml"), "--seed", "5"),
)
"""All before the export."""


def main() -> None:
    """Do what is left to do; print the hours."""
    arguments = _arguments()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    end = publish("end-run", "article-small/images/val", arguments.bundle, arguments.weights)
    hours = make(arguments.folder, (*STEPS, end))
    for name, value in hours.items():
        print(f"{value:6.2f} h  {name}")
    print(f"{sum(hours.values()):6.2f} h  in all\nbundle  {arguments.bundle}")
    print(f"next    edge-run --camera 0 --model {arguments.bundle}")


def make(folder: Path, steps: Sequence[Step]) -> dict[str, float]:
    """Do the steps that are not done.

    Returns:
        Hours of each, those of interrupted tries included.
    """
    file = folder / "hours.json"
    known = json.loads(file.read_bytes()) if file.is_file() else {"done": [], "hours": {}}
    done, hours = list(known["done"]), dict(known["hours"])
    for step in steps:
        if step.name in done:
            continue
        print(f"{step.name} ({len(done) + 1} of {len(steps)})", flush=True)
        before_s = time.monotonic()
        try:
            step.do(folder)
            done.append(step.name)
        finally:
            hours[step.name] = hours.get(step.name, 0.0) + (time.monotonic() - before_s) / 3600
            write_whole(file, json.dumps({"done": done, "hours": hours}, indent=1).encode())
    return hours


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    absolute = lambda text: Path(text).resolve()  # noqa: E731
    parser.add_argument("folder", type=absolute)
    parser.add_argument("--bundle", type=absolute, default=absolute("edge/demo_bundle"))
    parser.add_argument("--weights", type=absolute, help="store the checkpoint here, too")
    return parser.parse_args()


if __name__ == "__main__":
    main()
