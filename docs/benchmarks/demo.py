"""Choose the thresholds of the shipped model on rolls set aside for that, and judge it on others.

Usage: python docs/benchmarks/demo.py OUT.json [--calibrate BUNDLE]

Without --calibrate, runs the shipped model as it is on the rolls kept for judging. With it, looks at the
calibration rolls with low thresholds and prints those that would serve best.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from edge.app.scoring import PlantedScore, score_found
from edge.cameras.loom import LoomCamera
from edge.cloth.defects import ClothDefect, cloth_from_frame, on_cloth
from edge.cloth.in_frame import one_each
from edge.cloth.merger import DefectMerger
from edge.cloth.strips import Seam
from edge.config.edge import EdgeConfig
from edge.core.files import file_digest
from edge.inference.inspector import Inspector
from edge.inference.model import open_model
from edge.simulator.ground_truth import PlantedDefect
from edge.simulator.options import parse_loom_options

ARTICLE = "weave=plain,warp_pitch_px=4,weft_pitch_px=4,mean_grey=120"
CLOTHS = {"its article": f"{ARTICLE},", "any cloth": "", "any cloth, woven": "look=woven,"}
ROLL = "width_px=2048,length_m=8,defects_per_m=3"
CALIBRATION_SEEDS = range(5001, 5011)
JUDGING_SEEDS = range(6001, 6007)
"""Never used to train or to choose anything."""

SHIPPED_BUNDLE = Path(__file__).resolve().parents[2] / "edge" / "demo_bundle" / "bundle.json"
LEAST_SCORE = 0.05
GRID = (0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7)


@dataclass(frozen=True)
class SeenRoll:
    """Hold what a model saw on one roll.

    Attributes:
        frames: per frame its pieces of defects, how far cloth had then passed for the last time, and how
            wide the view is.
        planted: the ground truth.
    """

    frames: list[tuple[list[ClothDefect], float, float]]
    planted: list[PlantedDefect]

    def score(self, thresholds: Mapping[str, float]) -> PlantedScore:
        """Score the roll as if the model had had these thresholds."""
        merger, found = DefectMerger(), []
        for pieces, passed_m, view_mm in self.frames:
            kept = [piece for piece in pieces if piece.score >= thresholds[piece.class_name]]
            found += merger.add(kept, passed_m, view_mm=view_mm)
        return score_found(self.planted, found + merger.finish())


def look_at(roll: str, model: Path | None, thresholds: Mapping[str, float]) -> SeenRoll:
    """Run a model over a roll, as `edge-run` does."""
    with ExitStack() as stack:
        config = EdgeConfig(model=model, score_thresholds=dict(thresholds))
        backend, contract = open_model(config, stack)
        inspector = Inspector(backend, contract)
        camera = stack.enter_context(LoomCamera(parse_loom_options(roll)))
        scale = camera.options.mm_per_px
        seam = Seam(inspector.shared_lines(scale))
        frames = []
        for frame in iter(camera.read, None):
            assert frame.position is not None, "a loom knows its place"
            image, carried = seam.image(frame)
            found = one_each(inspector.inspect(image, scale), image.shape[:2]).moved(0, -carried)
            found = on_cloth(found, frame.position, config.selvedge_margin_mm)
            pieces = cloth_from_frame(found, frame.position, contract.class_names)
            passed_lines = len(frame.image) - seam.lines
            passed_m = frame.position.along_m + passed_lines * scale / 1000
            frames.append((pieces, passed_m, frame.image.shape[1] * scale))
        return SeenRoll(frames, camera.planted_up_to(camera.options.length_m or 0.0))


def total(scores: Iterable[PlantedScore]) -> dict[str, float]:
    """Add the counts of several rolls."""
    counts = [(s.planted, s.true_positives, s.false_positives, s.named_right) for s in scores]
    planted, found, false, named_right = (sum(column) for column in zip(*counts, strict=True))
    return {
        "planted": planted,
        "found": found,
        "false": false,
        "named_right": named_right,
        "recall": round(found / max(planted, 1), 4),
        "precision": round(found / max(found + false, 1), 4),
    }


def calibrate(model: Path, classes: tuple[str, ...]) -> list[dict[str, object]]:
    """Try all thresholds of the grid on the calibration rolls; the best first."""
    low = dict.fromkeys(classes, LEAST_SCORE)
    rolls = [
        look_at(f"loom:{cloth}{ROLL},seed={seed}", model, low)
        for cloth in CLOTHS.values()
        for seed in CALIBRATION_SEEDS
    ]
    rows: list[dict[str, object]] = []
    for values in itertools.product(GRID, repeat=len(classes)):
        thresholds = dict(zip(classes, values, strict=True))
        rows.append({"thresholds": thresholds, **total(roll.score(thresholds) for roll in rolls)})
    return sorted(rows, key=lambda row: -float(row["recall"]) - float(row["precision"]))  # type: ignore[arg-type]


def judge() -> dict[str, object]:
    """Run the shipped model over the judging rolls, of its article and of any cloth."""
    result: dict[str, object] = {"roll": ROLL, "seeds": list(JUDGING_SEEDS)}
    for name, cloth in CLOTHS.items():
        rolls = {seed: f"loom:{cloth}{ROLL},seed={seed}" for seed in JUDGING_SEEDS}
        scores = []
        for spec in rolls.values():
            seen = look_at(spec, None, {})
            scores.append(seen.score(dict.fromkeys(("wrinkle", "drop", "broken"), 0.0)))
        result[name] = total(scores)
        print(name, result[name])
    return result


def main() -> None:
    """Calibrate or judge."""
    out, flags = Path(sys.argv[1]), sys.argv[2:]
    if flags[:1] == ["--calibrate"]:
        rows = calibrate(Path(flags[1]), ("wrinkle", "drop", "broken"))[:20]
        for row in rows:
            print(row)
        result: dict[str, object] = {"roll": ROLL, "seeds": list(CALIBRATION_SEEDS), "best": rows}
    else:
        result = judge()
    result["bundle_sha256"] = file_digest(SHIPPED_BUNDLE)
    out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
