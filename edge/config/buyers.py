"""Define the rules by which a buyer grades, cuts and accepts rolls: tables `[buyers."NAME"]`."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from typing_extensions import Self

from edge.core.taxonomy import load_taxonomy

MOST_ROWS = 100
"""Rows of a table, and names in a list."""


class PointRow(BaseModel):
    """Row of a table of points."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    up_to_mm: float | None = Field(
        default=None, gt=0, le=100_000, description="Largest size that the row is for, mm; null: any size."
    )
    points: int = Field(ge=0, le=1000, description="Points of that size.")


def _rising(table: tuple[PointRow, ...]) -> tuple[PointRow, ...]:
    sizes = [row.up_to_mm for row in table[:-1]]
    known = [size for size in sizes if size is not None]
    if table and (len(known) < len(sizes) or table[-1].up_to_mm is not None):
        raise ValueError("the last row, and no other, has no up_to_mm: it is for all larger sizes")
    if any(after <= size for size, after in pairwise(known)):
        raise ValueError("up_to_mm has to rise from row to row")
    if any(after.points < row.points for row, after in pairwise(table)):
        raise ValueError("points cannot fall from row to row")
    if table and table[-1].points < 1:
        raise ValueError("the last row needs at least 1 point")
    return table


def _known(names: tuple[str, ...]) -> tuple[str, ...]:
    from edge.core.detections import UNCLASSIFIED  # with numpy, which --help does not load

    taxonomy = load_taxonomy()
    known = (*taxonomy.classes, UNCLASSIFIED, *(kind.category for kind in taxonomy.kinds))
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"there is no class or kind '{unknown[0][:80]}'; permitted: {', '.join(known)}")
    return names


PointTable = Annotated[tuple[PointRow, ...], Field(max_length=MOST_ROWS), AfterValidator(_rising)]
KindNames = Annotated[tuple[str, ...], Field(max_length=MOST_ROWS), AfterValidator(_known)]
Limit = Annotated[float | None, Field(ge=0, le=1e9)]

LARGEST_OF_SYSTEM = {"four-point": 4, "ten-point": 10}
"""Points of the largest defect, which are also the most points of a linear metre or yard."""


class BuyerRules(BaseModel):
    """Rules of one buyer. The defaults grade and cut as without a buyer."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False)

    system: Literal["four-point", "ten-point", "own"] = Field(
        default="four-point", description="Point system; `own`: that of `point_table`."
    )
    point_table: PointTable = Field(default=(), description="Points by the length of a defect, for `own`.")
    linear_unit: Literal["metre", "yard"] | None = Field(
        default=None, description="Length that `linear_points` is for; null: metre, yard for `ten-point`."
    )
    linear_points: int | None = Field(
        default=None, ge=1, le=1000, description="Most points of a linear unit; null: those of the system."
    )
    linear_points_by_width: PointTable = Field(
        default=(), description="Most points of a linear unit by the width of the cloth."
    )
    astm_holes: bool = Field(
        default=False, description="Holes up to 25.4 mm are charged 2 points, larger ones 4 (ASTM D5430)."
    )
    ignored_edge_mm: float = Field(
        default=0.0, ge=0, le=1000, description="Width at each selvedge that is not graded, mm."
    )
    running_defect_m: float | None = Field(
        default=None, gt=0, le=10_000,
        description="A longer defect is charged in each linear unit, m; null: longer than a linear unit.",
    )  # fmt: skip
    refuse_running_defects: bool = Field(
        default=False, description="A running defect refuses the roll and is in no piece."
    )
    cut_out: KindNames = Field(default=(), description="Classes and kinds that are in no piece.")
    least_piece_m: float | None = Field(
        default=None, ge=0.01, le=20_000, description="Shortest piece, m; null: 25."
    )
    piece_points: Limit = Field(
        default=None, description="Most points of a piece per 100 m²; null: the best grade's limit."
    )
    roll_points: Limit = Field(
        default=None, description="Most points of a roll per 100 m²; null: no limit."
    )
    lot_points: Limit = Field(default=None, description="Most points of a lot per 100 m²; null: no limit.")
    grade_limits: dict[str, Annotated[float, Field(ge=0, le=1e9)]] | None = Field(
        default=None, description="Grade to the most points per 100 m²; null: those of the run."
    )

    @model_validator(mode="after")
    def _no_contradiction(self) -> Self:
        if (self.system == "own") != bool(self.point_table):
            raise ValueError('system = "own" and point_table go together: give both, or neither')
        if self.system == "ten-point" and (self.astm_holes or self.grade_limits is not None):
            raise ValueError("the ten-point system has no astm_holes and no grade_limits: leave them out")
        if self.linear_points is not None and self.linear_points_by_width:
            raise ValueError("give linear_points or linear_points_by_width, not both")
        least = min((row.points for row in self.linear_points_by_width), default=self.linear_points)
        if least is not None and least < self.largest_points:
            raise ValueError(
                f"a linear unit cannot have at most {least} points: one defect has {self.largest_points}"
            )
        return self

    @property
    def unit(self) -> Literal["metre", "yard"]:
        """Linear unit of these rules."""
        return self.linear_unit or ("yard" if self.system == "ten-point" else "metre")

    @property
    def largest_points(self) -> int:
        """Points of the largest defect."""
        own = max((row.points for row in self.point_table), default=0)
        largest = LARGEST_OF_SYSTEM.get(self.system, own)
        return max(largest, 4) if self.astm_holes else largest
