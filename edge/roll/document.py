"""Define the content of a roll's paper once: page, PDF, JSON and CSV are made from these values.

The JSON Schema that ships is made from these classes, too: descriptions here are those of the schema.
Lengths along the roll are in metres from its first line, across it in millimetres from the left selvedge.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from edge.config.buyers import BuyerRules
from edge.config.roll_header import RollHeader
from edge.core.detections import Shape

SCHEMA_ID: Final = "urn:loomsight:roll-report:1.2"
"""`$id` of the schema. The second number rises with each field that is added, the first one with every
change that a program which reads the document must know of."""


def measured(description: str, **limits: Any) -> Any:
    """Return a field that holds a finite number."""
    return Field(description=description, allow_inf_nan=False, **limits)


Points = Annotated[int, Field(ge=0, description="Penalty points.")]
PerArea = Annotated[
    float | None, measured("Points per 100 m² of the inspected area; null: not known.", ge=0)
]
FromM = Annotated[float, measured("Where it begins along the roll, m.")]
ToM = Annotated[float, measured("Where it ends along the roll, m.")]
LengthM = Annotated[float, measured("Length along the roll, m.", ge=0)]
Time = Annotated[
    AwareDatetime | None, Field(description="Local time with offset from UTC; null: not known.")
]


class Part(BaseModel):
    """Hold a part of the document."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Header(RollHeader):
    """Say what the paper is about."""

    roll: str = Field(description="Name of the roll.")
    article: str | None = Field(default=None, description="Article of the cloth; null: not given.")


class Grading(Part):
    """Grade of the roll: by the four-point system (ASTM D5430), or as the rules of its buyer have it."""

    grade: str | None = Field(
        description="Best grade whose limit the roll meets, or ten-point quality; null: not known."
    )
    points: Points
    points_per_100_m2: PerArea
    limits: dict[str, float] = Field(description="Grade to the most points per 100 m² that it admits.")


class Buyer(Part):
    """Buyer by whose rules the roll is graded and cut."""

    name: str = Field(description="Name of the buyer in the settings.")
    rules: BuyerRules
    graded_m2: float | None = measured(
        "Inspected area without ignored edges, which points are counted on, m²; null: not known.", ge=0
    )
    accepted: bool | None = Field(description="Whether the rules accept the roll; null: not known.")
    refusals: tuple[str, ...] = Field(description="Why the roll is refused, in sentences.")


class Review(Part):
    """What people said of the defects; absent where they judged none."""

    confirmed: int = Field(ge=0, description="Defects that a person confirmed.")
    rejected: int = Field(ge=0, description="Defects that a person rejected.")
    grade: str | None = Field(description="Grade without the rejected defects; null: not known.")
    points: Points
    points_per_100_m2: PerArea


class Strip(Part):
    """Strip of the cloth along the whole roll."""

    left_mm: float = measured("Left edge, mm.")
    right_mm: float = measured("Right edge, mm.")


class Stretch(Part):
    """Stretch of the roll that was not inspected."""

    start_m: float | None = measured("Where it begins along the roll, m; null: place not known.")
    end_m: float | None = measured("Where it ends along the roll, m; null: place not known.")
    length_m: LengthM
    reason: str = Field(description="Why it was not inspected.")


class Missed(Part):
    """All stretches that were not inspected for one reason."""

    reason: str = Field(description="Why they were not inspected.")
    length_m: LengthM


class Inspection(Part):
    """How much of the roll was inspected."""

    length_m: float | None = measured("Length of the roll, m; null: not known.", ge=0)
    inspected_m: float | None = measured("Length that was inspected, m; null: not known.", ge=0)
    coverage: float | None = measured(
        "Inspected fraction of the length, 0 to 1; null: not known.", ge=0, le=1
    )
    width_mm: float | None = measured("Width of the cloth, mm; null: not known.", ge=0)
    seen_width_mm: float | None = measured("Width that was seen, mm; null: not recorded.", ge=0)
    inspected_m2: float | None = measured("Area that was inspected, m²; null: not known.", ge=0)
    area_coverage: float | None = measured(
        "Inspected fraction of the area, 0 to 1; null: not known.", ge=0, le=1
    )
    cloth: Strip | None = Field(description="Where the cloth lies across; null: width not known.")
    strips_not_seen: tuple[Strip, ...] = Field(description="Strips of the cloth that no camera saw.")
    not_inspected: tuple[Stretch, ...] = Field(description="Stretches that were not inspected.")
    not_inspected_by_reason: tuple[Missed, ...] = Field(description="The same, added up for each reason.")


class DefectKindSum(Part):
    """Defects of one class and kind, the most points first."""

    class_name: str = Field(description="Class of the defects.")
    kind: str | None = Field(description="Kind within the class; null: not known.")
    defects: int = Field(ge=1, description="How many there are.")
    points: Points
    length_m: LengthM


class Defect(Part):
    """A defect that was graded."""

    number: int = Field(ge=1, description="Number on this paper, in the order of the roll.")
    class_name: str = Field(description="Class of the defect.")
    kind: str | None = Field(description="Kind within the class, such as `broken pick`; null: not known.")
    shape: Shape | None = Field(description="Shape of an `unclassified` defect; else null.")
    start_m: FromM
    end_m: ToM
    length_m: LengthM
    left_mm: float = measured("Left side, mm from the left selvedge.")
    right_mm: float = measured("Right side, mm from the left selvedge.")
    width_mm: float = measured("Width across the cloth, mm.", ge=0)
    points: Points
    score: float = measured("Confidence of the detector, 0 to 1.", ge=0, le=1)
    verdict: Literal["confirmed", "rejected"] | None = Field(description="Of a person; null: none.")
    named: str | None = Field(description="Class that a person gave it; null: none.")
    time: Time


class Piece(Part):
    """Piece of the roll that is good enough."""

    number: int = Field(ge=1, description="Number of the piece, in the order of the roll.")
    start_m: FromM
    end_m: ToM
    length_m: LengthM
    inspected_m2: float = measured("Area of it that was inspected, without ignored edges, m².", ge=0)
    points: Points
    points_per_100_m2: float = measured("Points per 100 m² of its inspected area.", ge=0)


class Waste(Part):
    """Stretch between pieces."""

    start_m: FromM
    end_m: ToM
    length_m: LengthM


class CutOut(Part):
    """Stretch that must be in no piece, whatever its points."""

    start_m: FromM
    end_m: ToM
    length_m: LengthM
    kinds: tuple[str, ...] = Field(description="Kinds of the defects, or their classes, that are cut out.")


class CutPlan(Part):
    """Where to cut the roll so that as much of it as possible lies in good pieces."""

    least_m: float = measured("Shortest piece that was wanted, m.", gt=0)
    most_points_per_100_m2: float | None = measured(
        "Most points of a piece per 100 m²; null: no limit.", ge=0
    )
    most_points_per_yard: float | None = measured(
        "Most points of a piece per inspected yard of its length; null: no limit.", ge=0
    )
    unknown: str | None = Field(description="Why no plan could be made; null: it could.")
    pieces: tuple[Piece, ...] = Field(description="Good pieces, in the order of the roll.")
    waste: tuple[Waste, ...] = Field(description="What lies between them, in the order of the roll.")
    cut_out: tuple[CutOut, ...] = Field(description="What the buyer has cut out, in the order of the roll.")
    kept_m: LengthM


class Counts(Part):
    """How much was delivered and inspected."""

    delivered: int = Field(ge=0, description="Delivered by the cameras.")
    inspected: int = Field(ge=0, description="Inspected.")
    dropped: int = Field(ge=0, description="Delivered and not inspected.")


class GapRecord(Part):
    """Record of a stretch that was not inspected."""

    event_id: str = Field(description="Id in the roll record.")
    start_m: float | None = measured("Where it begins, m; null: not known.")
    end_m: float | None = measured("Where it ends, m; null: not known.")
    lines: int = Field(ge=0, description="Lines of it.")
    reason: str = Field(description="Why it was not inspected.")
    time: Time


class EventRecord(Part):
    """Record of something that happened, decisions to stop the machine among them."""

    event_id: str = Field(description="Id in the roll record.")
    time: Time
    kind: str = Field(description="What happened.")
    detail: str = Field(description="The same in words.")
    at_m: float | None = measured("Where on the roll, m; null: not known.")
    data: dict[str, Any] | None = Field(description="The same for a program; null: nothing more.")


class DefectRecord(Part):
    """Where the record has a defect, and its image."""

    number: int = Field(ge=1, description="Number of the defect on this paper.")
    event_id: str = Field(description="Id in the roll record, in messages to a broker and on the page.")
    image: str | None = Field(description="File of the image that shows it; null: none was saved.")
    box_xyxy_px: tuple[float, float, float, float] | None = Field(
        description="Left, top, right and bottom in that image, px; null: not known."
    )
    verdict_by: str | None = Field(description="User who gave the verdict; null: none, or not known.")


class Technical(Part):
    """What the machine's keeper wants to know, and a buyer need not."""

    roll_id: str = Field(description="Id of the roll in its record; of several cameras joined by +.")
    camera: str = Field(description="Camera, or cameras.")
    model_digest: str = Field(description="sha256 of the network's ONNX file.")
    inspected_by: str = Field(description="Version of loomsight that inspected the roll.")
    made_by: str = Field(description="Version of loomsight that made this document.")
    frames: Counts
    lines: Counts
    mm_per_line: float | None = measured(
        "Length of a line along the roll, mm; null: not known.", gt=0, default=None
    )
    reached_line: int | None = Field(
        default=None, ge=0, description="Lines from the first to the last one; null: those delivered."
    )
    cloth_width_mm: float | None = measured(
        "Width of the cloth, or of the camera's part of it, measured or stated, mm; null: not known.",
        ge=0,
        default=None,
    )
    view: Strip | None = Field(
        default=None, description="Strip that the camera saw, on average; null: not recorded."
    )
    damaged_rows: dict[str, int] = Field(
        description="Table of the record to damaged rows: left out here, or kept without what is damaged."
    )
    gaps: tuple[GapRecord, ...] = Field(description="Stretches that were not inspected.")
    events: tuple[EventRecord, ...] = Field(description="Events, in the order of time.")
    defects: tuple[DefectRecord, ...] = Field(description="Defects, in the order of their numbers.")
    settings: dict[str, Any] = Field(description="Settings of the run; of several cameras the first one's.")


class RollDocument(Part):
    """Report of one inspected roll."""

    schema_id: Literal["urn:loomsight:roll-report:1.2"] = Field(
        default=SCHEMA_ID, description="Id of the schema that this document follows."
    )
    header: Header
    status: Literal["running", "finished", "failed", "interrupted"] = Field(
        description="How the inspection of the roll ended; `running`: it has not."
    )
    started: Time
    ended: Time
    made: AwareDatetime = Field(description="When this document was made; local time with offset from UTC.")
    grading: Grading
    buyer: Buyer | None = Field(description="Whose rules these are; null: graded without a buyer.")
    review: Review | None = Field(description="What people said; null: nothing.")
    inspection: Inspection
    remarks: tuple[str, ...] = Field(description="What limits this report, in sentences.")
    kinds: tuple[DefectKindSum, ...] = Field(description="Defects by class and kind, most points first.")
    defects: tuple[Defect, ...] = Field(description="Graded defects, in the order of the roll.")
    cut_plan: CutPlan
    technical: Technical


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of the document as it is exported."""
    schema = RollDocument.model_json_schema(mode="serialization")
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": SCHEMA_ID}
    return head | schema | {"title": "Roll report of loomsight"}
