"""Define what a simulated loom weaves and how its camera looks at it."""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from typing_extensions import Self

from edge.core.errors import ConfigError
from edge.simulator.fault_plan import parse_faults
from edge.simulator.ground_truth import DIFFICULTIES, Difficulty
from edge.simulator.kinds import KINDS

Weave = Literal["plain", "twill", "satin"]
Scan = Literal["line", "area"]
Look = Literal["drawn", "woven"]
Pattern = Literal["solid", "stripes", "checks"]

DEFAULT_LOOK: Look = "drawn"
"""The shipped detector was trained on it. `woven` is nearer to real cloth, see
docs/benchmarks/cloth_distance.md."""

WEAVES: tuple[Weave, ...] = ("plain", "twill", "satin")
PATTERNS: tuple[Pattern, ...] = ("solid", "stripes", "checks")

CATEGORIES: tuple[str, ...] = tuple(KINDS)
"""The categories of the taxonomy that the loom knows how to draw."""

MIN_CLOTH_PX = 96
"""Least cloth in view: below it the larger defects have no room."""

Options = TypeVar("Options", bound=BaseModel)

LIST_KEYS = ("difficulties", "categories")


def _can_be_drawn(categories: tuple[str, ...]) -> tuple[str, ...]:
    unknown = sorted(set(categories) - set(CATEGORIES))
    if unknown:
        raise ValueError(f"the loom cannot draw {', '.join(unknown)}")
    return categories


Categories = Annotated[tuple[str, ...], AfterValidator(_can_be_drawn)]
"""Categories that the loom knows how to draw."""


def checked_pattern(pattern: Pattern | None, info: ValidationInfo) -> Pattern | None:
    """Refuse stripes and checks where the look knows none; `look` is a field before `pattern`."""
    if pattern not in (None, "solid") and info.data.get("look") in ("drawn", "both"):
        raise ValueError("only the look woven has stripes and checks")
    return pattern


class LoomOptions(BaseModel):
    """Describe one roll of cloth and the camera above it.

    The description of each field says what is permitted; it is what an error message quotes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    seed: int = Field(0, ge=0, description="a whole number from 0")
    width_px: int = Field(2048, ge=128, le=16384, description="128 to 16384 pixels")
    mm_per_px: float = Field(0.2, ge=0.02, le=2.0, description="0.02 to 2 millimetres")
    lines_per_block: int = Field(224, ge=1, le=8192, description="1 to 8192 lines")
    speed_m_min: float = Field(20.0, gt=0, le=600, description="above 0, up to 600 m/min")
    look: Look = Field(DEFAULT_LOOK, description="drawn or woven")
    weave: Weave | None = Field(None, description="plain, twill or satin")
    pattern: Pattern | None = Field(
        None, description="solid, stripes or checks; stripes and checks with look=woven"
    )
    colour: bool = Field(False, description="true or false")
    warp_pitch_px: float | None = Field(None, ge=2.5, le=16, description="2.5 to 16 pixels")
    weft_pitch_px: float | None = Field(None, ge=2.5, le=16, description="2.5 to 16 pixels")
    mean_grey: float | None = Field(None, ge=40, le=220, description="40 to 220 grey levels")
    defects_per_m: float = Field(0.5, ge=0, le=40, description="0 to 40 per metre of roll")
    difficulties: tuple[Difficulty, ...] = Field(
        DIFFICULTIES, min_length=1, description=f"any of {'+'.join(DIFFICULTIES)}"
    )
    categories: Categories = Field(CATEGORIES, min_length=1, description=f"any of {'+'.join(CATEGORIES)}")
    length_m: float | None = Field(
        None, gt=0, le=1e6, description="metres above 0, up to 1,000,000, or none for endless"
    )
    live: bool = Field(False, description="true or false")
    scan: Scan = Field("line", description="line or area")
    height_px: int = Field(1024, ge=16, le=8192, description="16 to 8192 pixels (area camera)")
    frames_hz: float = Field(5.0, gt=0, le=1000, description="above 0, up to 1000 (area camera)")
    exposure_ms: float = Field(0.5, ge=0, le=20, description="0 to 20 ms (area camera)")
    bed_left_mm: float = Field(
        15.0,
        ge=-10_000,
        le=10_000,
        description="millimetres of bed left of the cloth; negative: cloth out of view",
    )
    bed_right_mm: float = Field(
        15.0,
        ge=-10_000,
        le=10_000,
        description="millimetres of bed right of the cloth; negative: cloth out of view",
    )
    joints_m: str | None = Field(
        None,
        pattern=r"^[0-9]{1,6}(\.[0-9]{1,6})?(\+[0-9]{1,6}(\.[0-9]{1,6})?)*$",
        description="metres of sewn joints, joined by +, such as 10+25",
    )
    texture_lines: int = Field(701, ge=127, le=4096, description="127 to 4096 lines until it repeats")

    faults: str | None = Field(
        None,
        description="unplugged, silent, frozen, wrong_size, half_empty, black, stop, reverse, lamp_out, "
        "dim, blurred or lint, each with @first frame:frames, joined by +, and live=true",
    )

    @field_validator("faults")
    @classmethod
    def _check_faults(cls, faults: str | None, info: ValidationInfo) -> str | None:
        parse_faults(faults)
        if faults and not info.data.get("live"):
            raise ValueError("only a live camera fails")
        return faults

    @field_validator("pattern")
    @classmethod
    def _check_pattern(cls, pattern: Pattern | None, info: ValidationInfo) -> Pattern | None:
        return checked_pattern(pattern, info)

    @model_validator(mode="after")
    def _check_width(self) -> Self:
        left_px, right_px = self.cloth_in_view_px
        if right_px - left_px < MIN_CLOTH_PX:
            raise ValueError(f"less than {MIN_CLOTH_PX} pixels of cloth would be in view")
        return self

    @property
    def joints_at_m(self) -> tuple[float, ...]:
        """Where two pieces of cloth are sewn together, in metres from the start."""
        return tuple(sorted(float(place) for place in (self.joints_m or "").split("+") if place))

    @property
    def left_selvedge_px(self) -> int:
        """Column of the left edge of the cloth; negative if it is out of view."""
        return round(self.bed_left_mm / self.mm_per_px)

    @property
    def right_selvedge_px(self) -> int:
        """Column just behind the right edge of the cloth; beyond the width if it is out of view."""
        return self.width_px - round(self.bed_right_mm / self.mm_per_px)

    @property
    def cloth_in_view_px(self) -> tuple[int, int]:
        """First and last-plus-one column that shows cloth."""
        return max(0, self.left_selvedge_px), min(self.width_px, self.right_selvedge_px)

    @property
    def lines_hz(self) -> float:
        """Lines of square pixels that pass the camera in a second."""
        return self.speed_m_min / 60.0 * 1000.0 / self.mm_per_px

    @property
    def smear_px(self) -> int:
        """Odd number of lines that one exposure of an area camera smears over; 1 for line-scan."""
        if self.scan == "line":
            return 1
        return 1 + 2 * round(self.lines_hz * self.exposure_ms / 1000.0 / 2.0)


def parse_loom_options(text: str) -> LoomOptions:
    """Read a camera name such as ``loom`` or ``loom:seed=7,width_px=4096,difficulties=clear+subtle``.

    Args:
        text: ``loom``, then optionally a colon and ``key=value`` pairs with commas between them.
            Lists join their members with ``+``.
    Raises:
        ConfigError: if it is not of that form, or a key or a value is not permitted.
    """
    name, _, settings = text.strip().partition(":")
    if name != "loom":
        raise ConfigError(f"'{text}' is not a simulated loom.", "Write loom or loom:seed=7,….")
    values: dict[str, object] = {}
    for pair in filter(None, (part.strip() for part in settings.split(","))):
        key, equals, value = (part.strip() for part in pair.partition("="))
        if not equals or key in values:
            problem = "is given twice" if equals else "has no value"
            raise ConfigError(f"{text}: {key} {problem}.", "Write each setting once, as key=value.")
        values[key] = _value_of(key, value)
    return validated_options(values, source=text)


def validated_options(values: dict[str, object], source: str) -> LoomOptions:
    """Build the options of a loom from plain values; see `validated`."""
    return validated(LoomOptions, values, source, "the width", "Widen the image or lessen the bed.")


def validated(
    model: type[Options], values: dict[str, object], source: str, whole: str, whole_cure: str
) -> Options:
    """Build options from plain values.

    Args:
        model: of the options; the description of a field says what is permitted.
        values: field name to value, as text or as its own type.
        source: where the values come from, for the message.
        whole, whole_cure: what to name, and what to advise, where no single field is at fault.
    Raises:
        ConfigError: naming the source, the key and what is permitted.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0]) if first["loc"] else whole
        if first["type"] == "extra_forbidden":
            cure = f"Permitted: {', '.join(model.model_fields)}."
            raise ConfigError(f"{source}: there is no setting '{key}'.", cure) from error
        field = model.model_fields.get(key)
        cure = f"Permitted: {field.description}." if field else whole_cure
        raise ConfigError(f"{source}: {key}: {first['msg']}.", cure) from error


def _value_of(key: str, value: str) -> object:
    """Turn the text of a setting into what its field reads."""
    if key in LIST_KEYS:
        return tuple(item.strip().replace("_", " ").replace("-", " ") for item in value.split("+"))
    return None if value.lower() == "none" else value
