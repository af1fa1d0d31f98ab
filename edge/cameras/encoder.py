"""How a line camera takes its lines from an encoder on the machine: cloth that runs back is not seen twice.

An encoder gives two signals, a quarter of a period apart, so that the camera knows which way it turns. Told
so, the camera asks for a line at each place that is new: it takes none while the cloth runs back, and none
until the cloth is again where it turned round. What is counted forward is then what has passed.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from edge.cameras.device_options import DeviceOptions

GREATEST: Final = "greatest"
"""In the place of a value: the greatest that the node takes."""


class NodeWrite(NamedTuple):
    """Hold a node of the camera and the value to write into it; None executes a command."""

    node: str
    value: str | int | None


Dialect = tuple[NodeWrite, ...]
"""What to write, in this order; a camera speaks it if it has the first node."""


def encoder_dialects(options: DeviceOptions) -> tuple[Dialect, ...]:
    """Return what sets the encoder of a camera up, in each way that cameras have."""
    if options.encoder is None:
        return ()
    track_a, track_b = options.encoder.split("+")
    divider = options.encoder_divider
    return _standard(track_a, track_b, divider), _racer(track_a, track_b, divider)


def _standard(track_a: str, track_b: str, divider: int | None) -> Dialect:
    """EncoderControl of GenICam's Standard Features Naming Convention: racer 2, and other makers.

    "PositionUp" is its name for lines at new places only.
    """
    divided = (NodeWrite("EncoderDivider", divider),) if divider else ()
    return (
        NodeWrite("EncoderSelector", "Encoder0"),
        NodeWrite("EncoderSourceA", track_a),
        NodeWrite("EncoderSourceB", track_b),
        *divided,
        NodeWrite("EncoderOutputMode", "PositionUp"),
        *_line_start("Encoder0"),
    )


def _racer(track_a: str, track_b: str, divider: int | None) -> Dialect:
    """The shaft encoder module of Basler's runner and racer.

    Its reverse counter holds lines back until the cloth is where it turned round, up to its limit.
    """
    module = "ShaftEncoderModuleOut"
    divided = (
        NodeWrite("FrequencyConverterInputSource", module),
        NodeWrite("FrequencyConverterPreDivider", divider),
        NodeWrite("FrequencyConverterMultiplier", 1),
        NodeWrite("FrequencyConverterPostDivider", 1),
    )
    return (
        NodeWrite("ShaftEncoderModuleLineSelector", "PhaseA"),
        NodeWrite("ShaftEncoderModuleLineSource", track_a),
        NodeWrite("ShaftEncoderModuleLineSelector", "PhaseB"),
        NodeWrite("ShaftEncoderModuleLineSource", track_b),
        NodeWrite("ShaftEncoderModuleMode", "ForwardOnly"),
        NodeWrite("ShaftEncoderModuleReverseCounterMax", GREATEST),
        NodeWrite("ShaftEncoderModuleReverseCounterReset", None),
        *(divided if divider else ()),
        *_line_start("FrequencyConverter" if divider else module),
    )


def _line_start(source: str) -> Dialect:
    return (
        NodeWrite("TriggerSelector", "LineStart"),
        NodeWrite("TriggerMode", "On"),
        NodeWrite("TriggerSource", source),
    )
