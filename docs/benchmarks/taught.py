"""Teach each fabric from its clean strips, inspect the others: what `teach` and `edge-run` find together.

Usage: python docs/benchmarks/taught.py STRIPS OUT.json --scorer SCORER --folder FOLDER [--rate 0.1]
           [--mm-per-px 0.2]

STRIPS holds teach/ (clean strips to teach on), images/, voc/ and clean/ (to score); the fabric is the last
part of a name. For each fabric: `loomsight teach --false-alarms-per-image RATE`, then `edge-run
--reference` over images/ and clean/. No command is given a threshold: all that is reported is scored.
SCORER is called as `SCORER --truth VOC --clean CLEAN --alarms 1e9 DETECTIONS.jsonl`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from commands import loomsight

from edge.backends.probe import processor_name
from edge.bundle.opening import demo_bundle_path
from edge.core.files import file_digest


def main() -> None:
    """Teach, look, score; write and print it."""
    arguments = _arguments()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    fabrics = sorted({fabric_of(path) for path in (arguments.strips / "teach").glob("*.png")})
    detections = arguments.folder / "detections.jsonl"
    lines = [line for fabric in fabrics for line in looked_at(arguments, fabric)]
    detections.write_text("".join(lines), encoding="utf-8")
    result = {
        "bundle_sha256": file_digest(demo_bundle_path() / "bundle.json"),
        "processor": processor_name(),
        "rate_per_image": arguments.rate,
        "whole": scored(arguments, detections, lines),
        "by_fabric": by_fabric(lines, arguments.strips),
    }
    for name, is_meant in (("detector", _is_named), ("reference", _is_unclassified)):
        part, some = arguments.folder / f"{name}.jsonl", kept(lines, is_meant)
        part.write_text("".join(some), encoding="utf-8")
        result[name] = scored(arguments, part, some)
    arguments.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


def fabric_of(path: Path) -> str:
    """Return the fabric of a strip: the last part of its name."""
    return path.stem.rpartition("_")[2]


def looked_at(arguments: argparse.Namespace, fabric: str) -> list[str]:
    """Teach a fabric and return what is reported on its other strips."""
    folder = arguments.folder / fabric
    report = folder / "detections.jsonl"
    if not report.is_file():
        link(sorted((arguments.strips / "teach").glob(f"*_{fabric}.png")), folder / "teach")
        others = [arguments.strips / kind for kind in ("images", "clean")]
        scored_strips = [path for other in others for path in sorted(other.glob(f"*_{fabric}.png"))]
        link(scored_strips, folder / "strips")
        scale = ("--mm-per-px", str(arguments.mm_per_px))
        log = folder / "log.txt"
        loomsight(
            folder, "teach", "--article", fabric, "--camera", "teach", "--out", "article", "--overwrite",
            "--false-alarms-per-image", str(arguments.rate), *scale, log=log,
        )  # fmt: skip
        loomsight(
            folder, "edge-run", "--camera", "strips", "--reference", "article", *scale,
            "--detections", "part.jsonl", log=log,
        )  # fmt: skip
        (folder / "part.jsonl").rename(report)
    lines: list[str] = report.read_text(encoding="utf-8").splitlines(keepends=True)
    return lines


def link(paths: list[Path], folder: Path) -> None:
    """Lay links to images into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in paths:
        if not (folder / path.name).exists():
            (folder / path.name).symlink_to(path)


def scored(arguments: argparse.Namespace, detections: Path, lines: list[str]) -> dict[str, Any]:
    """Score what was reported, all of it.

    The scorer names the highest score that finds as many, and the false alarms above that; what is quoted
    here are those of everything that was reported.
    """
    command = [
        sys.executable, str(arguments.scorer), "--truth", str(arguments.strips / "voc"),
        "--clean", str(arguments.strips / "clean"), "--alarms", "1e9", str(detections),
    ]  # fmt: skip
    result = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    alarms = sum(row["false_alarms"] for row in by_fabric(lines, arguments.strips).values())
    return {
        "hits": result["operating"]["hits"],
        "recall": result["operating"]["recall"],
        "false_alarms": alarms,
        "false_alarms_per_clean_strip": round(alarms / result["clean_strips"], 4),
        **{key: result[key] for key in ("map_hit", "map50", "truths", "clean_strips")},
    }


def kept(lines: list[str], is_meant: Any) -> list[str]:
    """Return the lines with some of their detections."""
    rows = [json.loads(line) for line in lines]
    return [
        json.dumps({**row, "detections": [one for one in row["detections"] if is_meant(one)]}) + "\n"
        for row in rows
    ]


def by_fabric(lines: list[str], strips: Path) -> dict[str, dict[str, int]]:
    """Count strips and reports on clean strips of each fabric."""
    clean = {path.name for path in (strips / "clean").glob("*.png")}
    strips_of, alarms = Counter[str](), Counter[str]()
    for line in lines:
        row = json.loads(line)
        path = Path(row["source"])
        if path.name in clean:
            strips_of[fabric_of(path)] += 1
            alarms[fabric_of(path)] += len(row["detections"])
    return {
        name: {"clean_strips": count, "false_alarms": alarms[name]}
        for name, count in sorted(strips_of.items())
    }


def _is_named(detection: dict[str, Any]) -> bool:
    return str(detection["label"]) != "unclassified"


def _is_unclassified(detection: dict[str, Any]) -> bool:
    return not _is_named(detection)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("strips", type=lambda text: Path(text).resolve())
    parser.add_argument("out", type=Path)
    parser.add_argument("--scorer", type=lambda text: Path(text).resolve(), required=True)
    parser.add_argument("--folder", type=lambda text: Path(text).resolve(), required=True)
    parser.add_argument("--rate", type=float, default=0.1)
    parser.add_argument("--mm-per-px", type=float, default=0.2)
    return parser.parse_args()


if __name__ == "__main__":
    main()
