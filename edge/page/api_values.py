"""Define what the programs of a plant are answered under `/api/v1`; the OpenAPI document is made of it."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from edge.config.edge import RollName
from edge.page.rolls import EVENT_ID
from edge.roll.document import Defect, Grading, Inspection, Part, Review, Time, measured

MOST_ON_A_PAGE: Final = 500
ON_A_PAGE: Final = 50


class Problem(Part):
    """Why a request is not answered."""

    problem: str = Field(description="One line for a person.")


class RollSummary(Part):
    """A roll of the record."""

    roll_id: str = Field(description="Id of the roll in its record.")
    roll: str = Field(description="Name of the roll.")
    article: str | None = Field(description="Article of its cloth; null: not given.")
    status: Literal["running", "finished", "failed", "interrupted"] = Field(
        description="How its inspection ended; `running`: it has not."
    )
    started: Time
    ended: Time
    length_m: float | None = measured("Length of the roll, m; null: not known.", ge=0)
    defects: int = Field(ge=0, description="Defects that are recorded.")
    grade: str | None = Field(description="Grade at its end; null: it runs, or no grade is known.")
    points: int | None = Field(ge=0, description="Penalty points at its end; null: it runs.")
    points_per_100_m2: float | None = measured(
        "Points per 100 m² at its end; null: it runs, or the area is not known.", ge=0
    )


class Page(Part):
    """Where in a list an answer lies."""

    total: int = Field(ge=0, description="How many there are in all.")
    offset: int = Field(ge=0, description="How many come before the first one here.")
    following: int | None = Field(description="`offset` of the next part; null: this is the last one.")


class RollList(Page):
    """Rolls of the record, the last one first."""

    rolls: tuple[RollSummary, ...]


class GradedDefect(Defect):
    """A defect of a roll, as its report has it."""

    event_id: str = Field(description="Id in the roll record, in messages to a broker and on the page.")


class DefectList(Page):
    """Defects of a roll, in its order."""

    roll_id: str = Field(description="Id of the roll in its record.")
    defects: tuple[GradedDefect, ...]


class RollGrading(Part):
    """Grade of a roll, as far as it has come, and what that rests on."""

    roll_id: str = Field(description="Id of the roll in its record.")
    roll: str = Field(description="Name of the roll.")
    article: str | None = Field(description="Article of its cloth; null: not given.")
    status: Literal["running", "finished", "failed", "interrupted"] = Field(
        description="How its inspection ended; `running`: the grade may still change."
    )
    grading: Grading
    review: Review | None = Field(description="What people said of its defects; null: nothing.")
    inspection: Inspection


class KnownArticle(Part):
    """An article that the settings or the record know."""

    name: str = Field(description="Name of the article.")
    has_settings: bool = Field(description="Whether the settings have a table for it.")
    rolls: int = Field(ge=0, description="Rolls of it in the record.")


class ArticleList(Part):
    """Articles, in the order of their names."""

    article: str | None = Field(description="Article on the loom; null: not given.")
    articles: tuple[KnownArticle, ...]


class WantedArticle(BaseModel):
    """Article that is wanted on the loom: a roll of it begins, unless it is there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    article: RollName = Field(description="Name of the article.")
    roll: RollName | None = Field(
        None, description="Name of the roll; a new roll begins in any case. null: made of the time."
    )
    id: str | None = Field(
        None,
        pattern=f"^{EVENT_ID.pattern}$",
        description="32 hexadecimal digits of this request: sent twice it is done once. null: none.",
    )


class ArticleAnswer(Part):
    """What comes of a wanted article."""

    article: str = Field(description="Name of the article.")
    is_changing: bool = Field(description="Whether a roll of it begins, within moments.")
    repeated: bool = Field(description="Whether this very request came before.")
