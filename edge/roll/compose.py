"""Compose the document of a roll from what is recorded of it."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import datetime, timezone, tzinfo

from edge import __version__
from edge.core.counted import counted
from edge.roll import document as parts
from edge.roll.buyers import buyer_part
from edge.roll.contents import DefectRow, GapRow, Roll
from edge.roll.cut_places import cut_outs
from edge.roll.cuts import LEAST_INSPECTED, LONGEST_M, PieceRequest, most_points_per_yard, suggest_cuts
from edge.roll.document import RollDocument
from edge.roll.local_time import local, local_from_utc
from edge.roll.values import STRIP_NOT_SEEN

TITLE = "Inspection report"

_Kind = tuple[str, str | None]


def document_of(
    roll: Roll, wanted: PieceRequest | None = None, zone: tzinfo | None = None, made: datetime | None = None
) -> RollDocument:
    """Compose the document of a roll.

    Args:
        roll: as the record has it now.
        wanted: what a piece has to be; None for the default.
        zone: of its times; None for that of this device.
        made: when; None for now.
    """
    head = roll.head
    return RollDocument(
        header=parts.Header.model_validate(
            {"title": TITLE, **roll.header, "roll": roll.name, "article": head["article"]}
        ),
        status=head["status"],
        started=local_from_utc(head["started_utc"], zone),
        ended=local_from_utc(head["ended_utc"], zone),
        made=local(made or datetime.now(timezone.utc), zone),
        grading=parts.Grading(**roll.grade.as_json(), limits=roll.grade_limits),
        buyer=buyer_part(roll),
        review=_review(roll),
        inspection=_inspection(roll),
        remarks=tuple(_remarks(roll)),
        kinds=_kinds(roll),
        defects=tuple(_defect(number, row, zone) for number, row in enumerate(roll.defects, start=1)),
        cut_plan=_cut_plan(roll, wanted or PieceRequest()),
        technical=_technical(roll, zone),
    )


def _metres(value: float) -> float:
    """Round a length along the roll to a tenth of a millimetre."""
    return round(value, 4)


def _place(value: float | None) -> float | None:
    return None if value is None else _metres(value)


def _fraction(value: float | None) -> float | None:
    """Round a fraction so that only all of it is 1."""
    return value if value is None or value >= 1 else min(round(value, 6), 0.999999)


def _millimetres(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def _review(roll: Roll) -> parts.Review | None:
    verdicts = roll.verdicts
    if not verdicts:
        return None
    return parts.Review(
        confirmed=verdicts.get("confirmed", 0),
        rejected=verdicts.get("rejected", 0),
        **roll.grade_after_review.as_json(),
    )


def _inspection(roll: Roll) -> parts.Inspection:
    known, across, area = bool(roll.m_per_line), roll.across, roll.inspected_m2
    by_reason: dict[str, int] = defaultdict(int)
    for gap in roll.gaps:
        by_reason[gap.reason] += gap.lines
    seen_mm = across.seen_mm if across.part and across.seen is not None else None
    if across.part is None and across.seen:
        seen_mm = sum(strip.width_mm for strip in across.seen)
    return parts.Inspection(
        length_m=_metres(roll.length_m) if known else None,
        inspected_m=_metres(roll.inspected_m) if known else None,
        coverage=_fraction(roll.coverage),
        width_mm=_millimetres(across.width_mm),
        seen_width_mm=_millimetres(seen_mm),
        inspected_m2=None if area is None or not known else round(area, 4),
        area_coverage=_fraction(roll.area_coverage),
        cloth=None if across.part is None else _strip(*across.part),
        strips_not_seen=tuple(_strip(*strip) for strip in across.unseen),
        not_inspected=tuple(_stretch(gap, roll) for gap in roll.gaps),
        not_inspected_by_reason=tuple(
            parts.Missed(reason=reason, length_m=_metres(lines * roll.m_per_line))
            for reason, lines in by_reason.items()
        ),
    )


def _strip(left_mm: float, right_mm: float) -> parts.Strip:
    return parts.Strip(left_mm=round(left_mm, 1), right_mm=round(right_mm, 1))


def _stretch(gap: GapRow, roll: Roll) -> parts.Stretch:
    length_m = _metres(gap.lines * roll.m_per_line)
    return parts.Stretch(
        start_m=_place(gap.start_m), end_m=_place(gap.end_m), length_m=length_m, reason=gap.reason
    )


def _defect(number: int, row: DefectRow, zone: tzinfo | None) -> parts.Defect:
    defect = row.defect
    return parts.Defect(
        number=number,
        class_name=defect.class_name,
        kind=defect.kind,
        shape=defect.shape,
        start_m=_metres(defect.start_m),
        end_m=_metres(defect.end_m),
        length_m=_metres(defect.end_m - defect.start_m),
        left_mm=round(defect.left_mm, 1),
        right_mm=round(defect.right_mm, 1),
        width_mm=round(defect.right_mm - defect.left_mm, 1),
        points=row.points,
        score=round(defect.score, 4),
        verdict=row.verdict,
        named=row.named,
        time=local_from_utc(row.utc, zone),
    )


def _kinds(roll: Roll) -> tuple[parts.DefectKindSum, ...]:
    """Add defects up by class and kind."""
    defects, points, lengths = Counter[_Kind](), Counter[_Kind](), defaultdict[_Kind, float](float)
    for number, row in enumerate(roll.defects, start=1):
        one = _defect(number, row, timezone.utc)
        called = (one.class_name, one.kind)
        defects[called] += 1
        points[called] += row.points
        lengths[called] += row.defect.end_m - row.defect.start_m
    ordered = sorted(defects, key=lambda called: (-points[called], -defects[called], str(called)))
    return tuple(
        parts.DefectKindSum(
            class_name=called[0],
            kind=called[1],
            defects=defects[called],
            points=points[called],
            length_m=_metres(lengths[called]),
        )
        for called in ordered
    )


def _cut_plan(roll: Roll, wanted: PieceRequest) -> parts.CutPlan:
    least_m, most, per_yard = wanted.least_for(roll), wanted.points_for(roll), most_points_per_yard(roll)
    is_limited = most is not None or per_yard is not None
    found = suggest_cuts(roll, least_m, most) if is_limited else None
    pieces = found or []
    edges = [0.0, *(edge for piece in pieces for edge in (piece.start_m, piece.end_m)), roll.length_m]
    between = zip(edges[::2], edges[1::2], strict=True) if pieces else ()
    return parts.CutPlan(
        least_m=least_m,
        most_points_per_100_m2=most,
        most_points_per_yard=per_yard,
        unknown=None if found is not None else _why_no_plan(roll, is_limited=is_limited),
        pieces=tuple(
            parts.Piece(
                number=number,
                start_m=_metres(piece.start_m),
                end_m=_metres(piece.end_m),
                length_m=_metres(piece.end_m - piece.start_m),
                inspected_m2=round(piece.inspected_m2, 4),
                points=piece.points,
                points_per_100_m2=round(piece.points_per_100_m2, 2),
            )
            for number, piece in enumerate(pieces, start=1)
        ),
        waste=tuple(
            parts.Waste(start_m=_metres(start), end_m=_metres(end), length_m=_metres(end - start))
            for start, end in between
            if end - start > 1e-6
        ),
        cut_out=tuple(
            parts.CutOut(
                start_m=_metres(one.start_m),
                end_m=_metres(one.end_m),
                length_m=_metres(one.end_m - one.start_m),
                kinds=one.kinds,
            )
            for one in cut_outs(roll)
        ),
        kept_m=_metres(sum(piece.end_m - piece.start_m for piece in pieces)),
    )


def _why_no_plan(roll: Roll, *, is_limited: bool) -> str:
    if not is_limited:
        return "no limit of points is set"
    if roll.length_m > LONGEST_M:
        return "the roll is too long"
    is_all_edge = roll.width_mm and not roll.graded_across.width_mm
    return "nothing lies between the ignored edges" if is_all_edge else "length or width is not known"


def _technical(roll: Roll, zone: tzinfo | None) -> parts.Technical:
    head = roll.head
    return parts.Technical(
        roll_id=head["roll_id"],
        camera=head["camera"],
        model_digest=head["model_digest"],
        inspected_by=head["loomsight"],
        made_by=__version__,
        frames=_counts(head["passed_frames"], head["inspected_frames"]),
        lines=_counts(head["passed_lines"], head["inspected_lines"]),
        mm_per_line=head["mm_per_line"],
        reached_line=head["reached_line"],
        cloth_width_mm=head["cloth_width_mm"],
        view=None if roll.view is None else parts.Strip(left_mm=roll.view[0], right_mm=roll.view[1]),
        damaged_rows=dict(roll.damaged),
        gaps=tuple(
            parts.GapRecord(
                event_id=gap.event_id,
                start_m=_place(gap.start_m),
                end_m=_place(gap.end_m),
                lines=gap.lines,
                reason=gap.reason,
                time=local_from_utc(gap.utc, zone),
            )
            for gap in roll.gaps
        ),
        events=tuple(
            parts.EventRecord(
                event_id=event.event_id,
                time=local_from_utc(event.utc, zone),
                kind=event.kind,
                detail=event.detail,
                at_m=_place(event.at_m),
                data=event.data,
            )
            for event in roll.events
        ),
        defects=tuple(
            parts.DefectRecord(
                number=number,
                event_id=row.event_id,
                image=row.image,
                box_xyxy_px=row.box_xyxy_px,
                verdict_by=row.verdict_by,
            )
            for number, row in enumerate(roll.defects, start=1)
        ),
        settings=roll.settings,
    )


def _counts(delivered: int, inspected: int) -> parts.Counts:
    return parts.Counts(delivered=delivered, inspected=inspected, dropped=max(0, delivered - inspected))


def _remarks(roll: Roll) -> list[str]:
    """Say what limits the report."""
    remarks = []
    if (roll.coverage is not None and roll.coverage < 1) or roll.across.unseen:
        remarks.append("Not all of this roll was inspected: the hatched parts of the map were not seen.")
    remarks += _of_the_width(roll)
    remarks += _of_the_record(roll)
    if roll.head["status"] == "interrupted":
        remarks.append("The run was interrupted: what came after it is not in this report.")
    if roll.head["status"] == "failed":
        remarks.append("The run failed: what came after it is not in this report.")
    if roll.head["status"] == "running":
        remarks.append("The roll is still running: this report is about what was inspected up to now.")
    if any(event.kind == "roll continued" for event in roll.events):
        remarks.append("The roll was inspected in several runs; cloth between them has no length here.")
    return remarks + [event.detail for event in roll.events if event.kind == STRIP_NOT_SEEN]


def _of_the_width(roll: Roll) -> list[str]:
    across = roll.across
    if not across.unseen or roll.together is not None:
        return []
    remarks = [
        f"Of {across.width_mm or 0.0:.0f} mm of width {across.seen_mm or 0.0:.0f} mm were seen: "
        f"{strips_text([_strip(*strip) for strip in across.unseen])} were not, and are not graded."
    ]
    if (across.fraction or 0.0) < LEAST_INSPECTED:
        remarks.append("Less than half of the width was seen: no piece can be vouched for.")
    return remarks


def strips_text(strips: list[parts.Strip]) -> str:
    """Name strips across the cloth."""
    return " and ".join(f"{strip.left_mm:.0f} to {strip.right_mm:.0f} mm" for strip in strips)


def _of_the_record(roll: Roll) -> list[str]:
    """Say what the record does not tell, or not any more."""
    remarks = []
    if roll.across.part is not None and roll.across.seen is None:
        remarks.append(
            "The record does not say how wide the view of the camera was: all of the width is graded."
        )
    if roll.damaged:
        rows = ", ".join(f"{count} of {table}" for table, count in roll.damaged.items())
        total = sum(roll.damaged.values())
        remarks.append(
            f"The record has {counted(total, 'damaged row')} ({rows}): left out, or kept without what is "
            "damaged. This report and the grade may lack something."
        )
    return remarks
