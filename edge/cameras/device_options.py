"""Parse the settings of machine-vision cameras in an address: `basler:serial=40012345,width=4096`."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge.cameras.protocol import FramePosition, NoFrameYetError
from edge.core.errors import ConfigError, ImageError


class DeviceOptions(BaseModel):
    """Say which camera, how it is to be set, and how its frames lie on the cloth.

    What is not given is left as the camera has it. The description of each field says what is permitted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    serial: str | None = Field(None, min_length=1, description="serial number, or address for aravis")
    width: int | None = Field(None, ge=1, le=65536, description="1 to 65536 pixels")
    height: int | None = Field(None, ge=1, le=65536, description="1 to 65536 lines per frame")
    frame_rate_hz: float | None = Field(None, gt=0, le=10000, description="above 0, up to 10000")
    line_rate_hz: float | None = Field(None, gt=0, le=500000, description="above 0, up to 500000")
    exposure_us: float | None = Field(None, gt=0, le=10_000_000, description="above 0, up to 10 seconds")
    trigger: str | None = Field(None, min_length=1, description="a trigger source, such as Line1")
    encoder_mm_per_line: float | None = Field(None, gt=0, le=100, description="above 0, up to 100 mm")
    encoder: str | None = Field(
        None, pattern=r"^\w+\+\w+$", description="the inputs of its two tracks, such as Line1+Line2"
    )
    encoder_divider: int | None = Field(None, ge=1, le=65535, description="1 to 65535, with encoder")
    speed_m_min: float | None = Field(None, gt=0, le=600, description="above 0, up to 600 m/min")
    pictures: str | None = Field(None, description="a folder, for Basler's emulator")
    forced_failures: int = Field(0, ge=0, le=100_000, description="0 to 100000, for Basler's emulator")

    @property
    def is_paced(self) -> bool:
        """Whether frames come only while the cloth moves: a trigger or an encoder asks for them."""
        return self.trigger is not None or self._has_encoder

    @property
    def is_line_scan(self) -> bool:
        """Whether frames are blocks of a line camera, each of which follows on from the one before."""
        return self.line_rate_hz is not None or self._has_encoder

    @property
    def _has_encoder(self) -> bool:
        return self.encoder is not None or self.encoder_mm_per_line is not None

    @property
    def mm_per_line(self) -> float | None:
        """Millimetres of cloth from line to line of a line camera; None if it is not known."""
        if self.encoder_mm_per_line is not None:
            return self.encoder_mm_per_line
        if self.line_rate_hz is None or self.speed_m_min is None:
            return None
        return self.speed_m_min / 60 * 1000 / self.line_rate_hz

    def position(
        self, frames: int, lines: int, seconds: float, mm_per_px: float | None
    ) -> FramePosition | None:
        """Place a frame on the roll.

        Args:
            frames: that passed before it, those that were lost included.
            lines: of each.
            seconds: since the first frame was complete.
            mm_per_px: of cloth per column.
        Returns:
            None if the scale, or the advance of the cloth, is not known.
        """
        if mm_per_px is None:
            return None
        if self.is_line_scan:
            per_line = self.mm_per_line
            return None if per_line is None else _placed(frames * lines * per_line, per_line, mm_per_px)
        if self.speed_m_min is None:
            return None
        return _placed(seconds * self.speed_m_min / 60 * 1000, mm_per_px, mm_per_px)


def _placed(along_mm: float, mm_per_line: float, mm_per_px: float) -> FramePosition:
    return FramePosition(along_mm / 1000, mm_per_line, mm_per_px)


def parse_device(source: str) -> DeviceOptions:
    """Read what stands behind the first colon of an address.

    Raises:
        ConfigError: if a key or a value is not permitted.
    """
    values: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in source.partition(":")[2].split(","))):
        key, equals, value = (text.strip() for text in part.partition("="))
        if not equals or key in values:
            problem = "is given twice" if equals else "has no value"
            raise ConfigError(f"{source}: {key} {problem}.", "Write each setting once, as key=value.")
        values[key] = value
    if "encoder" in values and "trigger" in values:
        raise ConfigError(f"{source}: encoder and trigger exclude each other.", "Leave one of them out.")
    if "encoder_divider" in values and "encoder" not in values:
        raise ConfigError(
            f"{source}: encoder_divider needs encoder.", "Name its inputs: encoder=Line1+Line2."
        )
    try:
        return DeviceOptions.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0])
        fields = DeviceOptions.model_fields
        permitted = fields[key].description if key in fields else ", ".join(fields)
        raise ConfigError(f"{source}: {key}: {first['msg']}.", f"Permitted: {permitted}.") from error


MOST_LATE = 16
"""A frame may come so many frames late: as many buffers are under way."""


class FrameCount:
    """Count frames by the numbers that a camera gives them, those that never came included.

    Args:
        wraps_at: highest number of a camera whose numbers begin at 1 again behind it.
    """

    def __init__(self, wraps_at: int = 65535) -> None:
        self._wraps_at = wraps_at
        self._last: int | None = None
        self.passed = -1
        self.lost = 0

    def count(self, number: int) -> int:
        """Return how many frames passed before this one.

        GigE Vision counts to 65535 and goes on with 1. An incomplete frame may come after its successor: it
        was counted as lost, and is not. A number that is neither is taken as the next one: what was lost is
        not known then.
        """
        step = 1 if self._last is None else number - self._last
        if abs(step) > self._wraps_at // 2:
            step += self._wraps_at if step < 0 else -self._wraps_at
        if -MOST_LATE <= step < 0:
            self.lost = max(0, self.lost - 1)
            return self.passed + step
        step = max(step, 1)
        self._last = number
        self.passed += step
        self.lost += step - 1
        return self.passed

    def count_on(self) -> int:
        """Return how many frames passed before one that has no number: it is taken as the next one."""
        self.passed += 1
        if self._last is not None:
            self._last += 1
        return self.passed


class Placing:
    """Number and place the frames of one opening of a camera, and count what did not come whole.

    Args:
        options: of the camera.
        mm_per_px: scale on the cloth, across; None if not known.
    """

    def __init__(self, options: DeviceOptions, mm_per_px: float | None) -> None:
        self._options = options
        self._mm_per_px = mm_per_px
        self._count = FrameCount()
        self._incomplete = 0
        self._began_s: float | None = None

    @property
    def counters(self) -> dict[str, int]:
        """Buffers that did not come whole, and frames that did not come at all."""
        return {"incomplete": self._incomplete, "lost": self._count.lost}

    def place(self, number: int | None, lines: int, now_s: float) -> tuple[int, FramePosition | None]:
        """Return the number of a frame and its place.

        Args:
            number: that the camera gives it; None if it counts nothing.
            lines: of the frame.
            now_s: when it was complete.
        """
        if self._began_s is None:
            self._began_s = now_s
        passed = self._count.count_on() if number is None else self._count.count(number)
        return passed, self._options.position(passed, lines, now_s - self._began_s, self._mm_per_px)

    def incomplete(self, name: str, place: FramePosition | None, why: str) -> Exception:
        """Count a buffer that did not come whole; return what a read raises for it.

        With a place, that of the next frame says what is missing; without one, it is an unreadable image.
        """
        self._incomplete += 1
        if place is not None:
            return NoFrameYetError()
        return ImageError(f"{name}: a buffer is incomplete: {why}", "Check cable and network card.")
