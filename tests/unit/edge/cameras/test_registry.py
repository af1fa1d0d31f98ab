"""Each kind of camera of the registry is whole: its module builds it, and names tell it from a path."""

from __future__ import annotations

import pytest

from edge.app.shared import _device
from edge.cameras.choose import choose_camera
from edge.cameras.registry import CAMERAS, device_titles, forms, kind_of


@pytest.mark.parametrize("name", CAMERAS)
def test_an_address_with_that_name_is_a_camera_of_that_kind(name):
    address = f"{name}:serial=7" if CAMERAS[name].is_device else f"{name}:seed=7"
    assert kind_of(address) is CAMERAS[name]
    camera = choose_camera(address, mm_per_px=0.2)
    assert "7" in camera.name
    assert _device(address) == ((name, "7") if CAMERAS[name].is_device else None)


@pytest.mark.parametrize("address", ["basler", "aravis", "baslers:", "Basler:", "rtsp://basler:1", "0", ""])
def test_other_addresses_are_of_no_kind(address):
    assert kind_of(address) is None


def test_the_simulated_loom_needs_no_settings():
    assert kind_of("loom") is CAMERAS["loom"]


def test_texts_list_every_kind():
    assert all(kind.form in forms() for kind in CAMERAS.values())
    assert device_titles().split(" or ") == [kind.title for kind in CAMERAS.values() if kind.is_device]
