"""Addresses of machine-vision cameras, and what their frame numbers say."""

from __future__ import annotations

import pytest

from edge.cameras.device_options import FrameCount, Placing, parse_device
from edge.cameras.encoder import NodeWrite, encoder_dialects
from edge.core.errors import ConfigError


@pytest.mark.parametrize(
    ("numbers", "passed", "lost"),
    [
        ([7, 8, 9], [0, 1, 2], 0),
        ([7, 10], [0, 3], 2),
        ([65534, 65535, 1, 2], [0, 1, 2, 3], 0),
        ([65535, 3], [0, 3], 2),
        ([5, 7, 6, 8], [0, 2, 1, 3], 0),
        ([65534, 1, 65535, 2], [0, 2, 1, 3], 0),
        ([500, 3, 4], [0, 1, 2], 0),
    ],
    ids=["in order", "lost", "wraps", "lost at the wrap", "late", "late at the wrap", "started again"],
)
def test_frame_numbers(numbers, passed, lost):
    count = FrameCount()
    assert [count.count(number) for number in numbers] == passed
    assert count.lost == lost


def test_lines_are_placed_by_encoder_by_rate_and_images_by_time():
    by_encoder = Placing(parse_device("basler:encoder_mm_per_line=0.5"), 0.1)
    by_encoder.place(10, 100, 0.0)
    assert by_encoder.place(13, 100, 9.0)[1].first_line == 300
    by_rate = parse_device("basler:line_rate_hz=1000,speed_m_min=6")
    assert by_rate.mm_per_line == pytest.approx(0.1)
    by_time = Placing(parse_device("aravis:speed_m_min=6"), 0.2)
    by_time.place(0, 100, 50.0)
    assert by_time.place(1, 100, 52.0)[1].along_m == pytest.approx(0.2)


@pytest.mark.parametrize("source", ["basler:", "basler:speed_m_min=6", "basler:encoder_mm_per_line=1"])
def test_without_a_scale_there_is_no_place(source):
    assert Placing(parse_device(source), None).place(0, 10, 0.0) == (0, None)


@pytest.mark.parametrize(
    ("source", "is_paced", "is_line_scan"),
    [
        ("basler:", False, False),
        ("basler:line_rate_hz=8000", False, True),
        ("basler:trigger=Line1", True, False),
        ("basler:encoder_mm_per_line=0.1,trigger=Line1", True, True),
        ("basler:encoder=Line1+Line2", True, True),
    ],
)
def test_what_is_paced_by_the_cloth(source, is_paced, is_line_scan):
    options = parse_device(source)
    assert (options.is_paced, options.is_line_scan) == (is_paced, is_line_scan)


@pytest.mark.parametrize(
    "source",
    ["basler:width", "basler:width=0", "basler:wdth=4", "basler:width=4,width=5", "aravis:speed_m_min=nan"],
)
def test_what_is_refused_names_the_key(source):
    with pytest.raises(ConfigError, match=r"wdth|width|speed_m_min") as caught:
        parse_device(source)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "settings", ["encoder=Line1", "encoder=Line1+", "encoder=A+B,trigger=Line1", "encoder_divider=2"]
)
def test_an_encoder_is_named_by_its_two_inputs(settings):
    with pytest.raises(ConfigError, match="encoder"):
        parse_device(f"basler:{settings}")


@pytest.mark.parametrize(
    ("divider", "source"),
    [(None, ("Encoder0", "ShaftEncoderModuleOut")), (4, ("Encoder0", "FrequencyConverter"))],
)
def test_lines_are_asked_for_at_new_places_only(divider, source):
    divided = f",encoder_divider={divider}" if divider else ""
    standard, racer = encoder_dialects(parse_device(f"basler:encoder=Line1+Line3{divided}"))
    assert NodeWrite("EncoderOutputMode", "PositionUp") in standard
    assert NodeWrite("ShaftEncoderModuleMode", "ForwardOnly") in racer
    for writes, last in zip((standard, racer), source, strict=True):
        assert [value for _, value in writes if value in ("Line1", "Line3")] == ["Line1", "Line3"]
        assert writes[-1] == ("TriggerSource", last)
        assert divider is None or divider in [value for _, value in writes]


def test_without_an_encoder_nothing_is_written():
    assert encoder_dialects(parse_device("basler:encoder_mm_per_line=1")) == ()


@pytest.mark.parametrize(
    ("numbers", "lost"),
    [([1, 2, None, 4], 0), ([1, None, 4], 1), ([65535, None, 2, 3], 0), ([None, None, None], 0)],
    ids=["in the middle", "and one lost", "where numbers start again", "a camera that counts nothing"],
)
def test_a_frame_without_a_number_is_the_next_one(numbers, lost):
    count = FrameCount()
    passed = [count.count_on() if number is None else count.count(number) for number in numbers]
    assert passed[-1] + 1 == len(numbers) + lost
    assert count.lost == lost
