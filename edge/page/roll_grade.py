"""Grade the roll of a page so far: the number that `loomsight roll report` has at that moment."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field

from edge.cloth.defects import ClothDefect
from edge.cloth.found import DefectsFound
from edge.page.grade import NOTHING_YET, GradeSoFar, graded
from edge.page.live import LivePage
from edge.roll.contents import Roll
from edge.roll.reading import defect_row, defects_table, look_into, recorded_view
from edge.roll.rows import BESIDE_M, RollCells, cells_of


@dataclass(slots=True)
class RollGrade:
    """Grade the roll of a page again and again; of a recorded one, what is new in its record is read."""

    live: LivePage
    _roll: tuple[str, int] = ("", -1)
    _row: int = 0
    _found: DefectsFound = field(default_factory=lambda: DefectsFound(1))

    def look(self) -> GradeSoFar:
        """Return how the roll stands now.

        Raises:
            RecordError: if the record cannot be read.
        """
        recorder, roll_id = self.live.recorder, self.live.roll_id
        if recorder is None or roll_id is None:
            return self.live.snapshot.grade or NOTHING_YET
        if self._roll != (roll_id, recorder.times_replaced):
            self._roll, self._row, self._found = (roll_id, recorder.times_replaced), 0, DefectsFound(1)
        found = look_into(recorder.path, lambda db: self._from_record(db, roll_id))
        self.live.recorded_grade = found
        return found or NOTHING_YET

    def _from_record(self, db: sqlite3.Connection, roll_id: str) -> GradeSoFar | None:
        row = db.execute("SELECT * FROM rolls WHERE roll_id = ?", (roll_id,)).fetchone()
        if row is None:  # it waits in memory
            return None
        head = cells_of(RollCells, row)[0]
        query = (
            f"SELECT defects.rowid AS number, * FROM {defects_table(db)} "
            "WHERE roll_id = ? AND defects.rowid > ? ORDER BY defects.rowid"
        )
        for cells in db.execute(query, (roll_id, self._row)):
            self._row = cells["number"]
            defect = defect_row(cells)
            if defect is not None and _is_on_roll(defect.defect, head.length_m):
                self._found += [defect.defect]
        roll = Roll(head.model_dump(), (), (), (), recorded_view(db, roll_id))
        area_m2 = roll.inspected_m2 if roll.m_per_line else None
        return graded(self._found.points, area_m2, roll.grade_limits)


def _is_on_roll(defect: ClothDefect, length_m: float) -> bool:
    """Tell whether a report counts a defect; what lies elsewhere is damage of the record."""
    return defect.start_m >= -BESIDE_M and defect.end_m <= length_m + BESIDE_M
