"""Summarise a finished run: as JSON for programs, as a table for people."""

from __future__ import annotations

from itertools import islice
from typing import Any

from rich.console import Console

from edge import __version__
from edge.app.scoring import score_found
from edge.backends.description import BackendDescription
from edge.cameras.loom import LoomCamera
from edge.cameras.protocol import GAP_REASONS, Camera
from edge.cloth.coverage import GapOnRoll
from edge.cloth.sums import Passed
from edge.cloth.width import LEAST_STRIP_MM
from edge.config.edge import EdgeConfig
from edge.core.counted import counted
from edge.core.latency import StageClock
from edge.pipeline.run_state import RunState
from edge.process.terminal import as_cell
from edge.process.whole_table import WholeTable

LONGEST_DEFECT_M = 10.0
"""The ground truth is asked for this much beyond the end of the run: a defect found at the last line may
belong to one that has not passed whole, and is no false alarm."""

LAST_ROLLS = 10
"""Rolls in the table for people."""

MOST_GAPS = 1000
"""Gaps listed one by one; all of them are in the sums, and in the roll record."""


def summarise(
    config: EdgeConfig, camera: Camera, state: RunState, clock: StageClock, backend: BackendDescription
) -> dict[str, Any]:
    """Gather the result of a run.

    Returns:
        Plain values, ready for JSON. `metres_inspected` is None where the camera knows no position; the
        counts of planted and found defects are there only where it knows the ground truth.
    """
    coverage, rolls = state.total, [*state.rolls, state.roll.ended()]
    summary: dict[str, Any] = {
        "loomsight": __version__,
        "camera": camera.name,
        "backend": str(backend),
        "metres_inspected": round(coverage.metres_inspected, 4) if coverage.knows_metres else None,
        "gap_m": round(coverage.gap_m, 4) if coverage.knows_metres else None,
        "gaps_m": _gaps_m(coverage),
        **_gaps_by_reason(coverage, state.coverage.gaps),
        "coverage": None if coverage.fraction is None else round(coverage.fraction, 6),
        "frames": coverage.frames_inspected,
        "without_cloth": coverage.frames_without_cloth,
        "dropped": state.dropped,
        "unreadable": state.unreadable,
        "camera_down_s": round(coverage.seconds_down, 1),
        "camera_counters": camera_counters(camera),
        "seconds": round(state.seconds, 3),
        "frames_per_s": round(coverage.frames_inspected / state.seconds, 2) if state.seconds else None,
        "cold_start_ms": None if state.cold_start_ms is None else round(state.cold_start_ms, 1),
        "latency_ms": state.latency.quantiles(),
        "age_ms": state.age.quantiles() if camera.is_live else None,
        "stages_ms": clock.quantiles(),
        "detections_by_class": state.detections_by_class,
        "detections_off_cloth": state.detections_off_cloth,
        "defects_on_roll": len(state.found) if coverage.knows_metres else None,
        "recurring": state.folded if coverage.knows_metres else None,
        "capacity": _capacity(state),
    }
    if camera.ground_truth is not None and state.last_frame is not None:
        summary |= score_against_loom(camera.ground_truth, state)
    summary["defects"] = [defect.as_json() for defect in state.found]
    summary["rolls"] = [roll.as_json() for roll in rolls]
    summary["four_points"] = None
    if coverage.knows_metres and not state.rolls_ended:  # of several rolls, each has its own
        graded = ("points", "points_per_100_m2", "grade", "width_mm", "seen_width_mm", "inspected_m2")
        summary["four_points"] = {name: summary["rolls"][0][name] for name in graded}
    summary["stopped_on_request"] = state.stopped_on_request
    summary["error"] = str(state.error) if state.error else None
    summary["config"] = config.public()
    return summary


def camera_counters(camera: Camera) -> dict[str, int]:
    """Return what a camera that watches itself has counted; nothing for others."""
    return dict(camera.health.counters) if camera.health is not None else {}


def _gaps_m(coverage: Passed) -> dict[str, float] | None:
    """State the metres that were not inspected, by reason."""
    if not coverage.knows_metres:
        return None
    return {"lost": round(coverage.lost_m, 4), "no cloth": round(coverage.metres_without_cloth, 4)}


def _gaps_by_reason(coverage: Passed, gaps: list[GapOnRoll]) -> dict[str, Any]:
    """Say in whole lines and in metres what passed uninspected, why and where."""
    if not coverage.knows_metres:
        return {"lines": None, "gaps_by_reason_m": None, "gaps": None}
    lines = {reason: coverage.gap_lines(reason) for reason in GAP_REASONS}
    return {
        "lines": {"passed": coverage.lines_delivered, "inspected": coverage.lines_inspected, **lines},
        "gaps_by_reason_m": {reason: round(coverage.gap_metres(reason), 4) for reason in GAP_REASONS},
        "gaps": [gap.as_json() for gap in islice(gaps, MOST_GAPS)],
    }


def score_against_loom(camera: LoomCamera, state: RunState) -> dict[str, Any]:
    """Compare with the ground truth, up to the line that inspection has reached, while all defects are
    kept.

    The ground truth is in millimetres of the simulated cloth, whatever cloth its camera is said to be a
    part of.
    """
    position = state.last_frame.position if state.last_frame else None
    if position is None or state.frame_size_hw_px is None or state.found.forgotten:
        return {}
    reached_m = position.along_m + state.frame_size_hw_px[0] * position.mm_per_px_along / 1000
    planted = camera.planted_up_to(reached_m + LONGEST_DEFECT_M)
    known_px = position.left_selvedge_px or 0.0
    across_mm = (known_px - camera.options.left_selvedge_px) * position.mm_per_px_across
    found = tuple(defect.moved_across(across_mm) for defect in state.found)
    return score_found(planted, found, reached_m).as_json()


def _capacity(state: RunState) -> dict[str, float] | None:
    """State what the device can inspect: metres a minute at this width and resolution."""
    frame = state.last_frame
    if frame is None or frame.position is None or not state.busy_seconds:
        return None
    return {
        "m_per_min": round(state.total.metres_inspected / state.busy_seconds * 60, 2),
        "width_m": round(frame.image.shape[1] * frame.position.mm_per_px_across / 1000, 3),
        "mm_per_px": frame.position.mm_per_px_across,
    }


def print_summary(summary: dict[str, Any], console: Console) -> None:
    """Print the closing table of a run."""
    table = WholeTable(
        title=f"loomsight on {as_cell(summary['camera'])}", show_header=False, title_justify="left"
    )
    table.add_column(style="bold")
    table.add_column()
    for name, text in _rows(summary):
        table.add_row(name, as_cell(text))
    console.print(table)


def _rows(summary: dict[str, Any]) -> list[tuple[str, str]]:
    latency = summary["latency_ms"]
    rows = [
        (
            "frames",
            f"{summary['frames']} inspected, {summary['dropped']} dropped, "
            f"{summary['unreadable']} unreadable",
        )
    ]
    if summary["metres_inspected"] is not None:
        rows.insert(0, ("metres inspected", f"{summary['metres_inspected']:.2f} m"))
    if summary["coverage"] is not None:
        rows.append(("coverage", f"{summary['coverage']:.2%}"))
    rows += _lost_rows(summary)
    rows += _no_cloth_rows(summary)
    if "planted" in summary:
        rows += _ground_truth_rows(summary)
    else:
        found = ", ".join(f"{count} {name}" for name, count in summary["detections_by_class"].items())
        rows.append(("detections", found or "none"))
    rows += _grade_rows(summary["four_points"]) or _roll_rows(summary["rolls"])
    rows.append(
        (
            "latency per frame",
            " / ".join(f"{key} {latency[key]:.1f}" for key in ("p50", "p95", "p99", "max")) + " ms",
        )
    )
    if summary["capacity"]:
        capacity = summary["capacity"]
        rows.append(
            (
                "capacity",
                f"{capacity['m_per_min']:.1f} m/min at {capacity['width_m']:.2f} m width and "
                f"{capacity['mm_per_px']:g} mm/px",
            )
        )
    rows.append(("runs on", summary["backend"]))
    return rows


def _grade_rows(graded: dict[str, Any] | None) -> list[tuple[str, str]]:
    """State the points of the four-point system, and the grade where it is known."""
    if graded is None:
        return []
    width_mm, seen_mm = graded["width_mm"], graded["seen_width_mm"]
    if graded["points_per_100_m2"] is None:
        why = "the width is not known" if width_mm is None else "no cloth was inspected"
        return [("four-point grade", f"unknown: {counted(graded['points'], 'point')}, {why}")]
    per_area = f"{graded['points']} points, {graded['points_per_100_m2']:.1f} per 100 m²"
    rows = [("four-point grade", f"{graded['grade'] or 'no limits set'}: {per_area}")]
    if width_mm - seen_mm >= LEAST_STRIP_MM:
        seen = f"{seen_mm:.0f} of {width_mm:.0f} mm seen: the rest was not inspected, and is not graded"
        rows.insert(0, ("width", seen))
    return rows


def _roll_rows(rolls: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Name the last rolls of several, with what each came to."""
    if len(rolls) < 2:
        return []
    rows = []
    for roll in rolls[-LAST_ROLLS:]:
        metres, grade = roll["metres_passed"], roll["grade"] or "unknown"
        length = counted(roll["frames"], "frame") if metres is None else f"{metres:.2f} m"
        found = "" if metres is None else f", {counted(roll['defects'], 'defect')}, grade {grade}"
        rows.append((f"roll {roll['name'] or ''}".rstrip(), length + found))
    return rows


def _lost_rows(summary: dict[str, Any]) -> list[tuple[str, str]]:
    """Say why cloth passed unseen, if any did."""
    by_reason = summary["gaps_by_reason_m"] or {}
    parts = [
        f"{metres:.2f} m {reason}"
        for reason, metres in by_reason.items()
        if metres and reason != "no cloth"
    ]
    if summary["camera_down_s"]:
        parts.append(f"camera down for {summary['camera_down_s']:.0f} s")
    return [("not seen", ", ".join(parts))] if parts else []


def _no_cloth_rows(summary: dict[str, Any]) -> list[tuple[str, str]]:
    """Say what was left out because there was no cloth, if anything was."""
    parts = []
    if summary["gaps_m"] and summary["gaps_m"]["no cloth"]:
        parts.append(f"{summary['gaps_m']['no cloth']:.2f} m")
    if summary["without_cloth"]:
        parts.append(counted(summary["without_cloth"], "frame"))
    if summary["detections_off_cloth"]:
        parts.append(f"{counted(summary['detections_off_cloth'], 'detection')} left out")
    return [("no cloth", ", ".join(parts))] if parts else []


def _ground_truth_rows(summary: dict[str, Any]) -> list[tuple[str, str]]:
    rows = [
        (
            "defects",
            f"{summary['planted']} planted, {summary['found']} found, {summary['missed']} missed, "
            f"{summary['false']} false; {summary['named_right']} of the found have the right class",
        )
    ]
    if summary["recall"] is not None and summary["precision"] is not None:
        rows.append(("recall / precision", f"{summary['recall']:.3f} / {summary['precision']:.3f}"))
    grades = ", ".join(
        f"{grade} {counts['found']}/{counts['planted']}"
        for grade, counts in summary["by_difficulty"].items()
    )
    rows.append(("found by difficulty", grades))
    return rows
