"""Cures that install something work where they are read."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from edge.backends.registry import BACKENDS
from edge.commands import doctor
from edge.process import packages

ROOT = Path(__file__).parents[4]


@pytest.fixture(params=["wheel", "clone with uv", "clone with its own uv", "clone without uv"])
def place(request, monkeypatch, tmp_path):
    if request.param != "wheel":
        (tmp_path / "Makefile").touch()
        (tmp_path / "uv.lock").touch()
    if request.param == "clone with its own uv":
        (tmp_path / ".uv" / "bin").mkdir(parents=True)
        (tmp_path / ".uv" / "bin" / "uv").touch()
    monkeypatch.setattr(packages, "ROOT", tmp_path)
    found = "/usr/bin/uv" if request.param == "clone with uv" else None
    monkeypatch.setattr(packages.shutil, "which", lambda _: found)
    return request.param


def test_an_extra_is_installed_as_the_rest_was(place):
    assert (
        packages.install_extra("openvino")
        == {
            "wheel": "pip install 'loomsight[openvino]'",
            "clone with uv": "uv sync --inexact --extra openvino",
            "clone with its own uv": ".uv/bin/uv sync --inexact --extra openvino",
            "clone without uv": "pip install -e '.[openvino]'",
        }[place]
    )


def test_a_package_is_installed_with_what_is_there(place):
    pip = {"wheel": "pip", "clone with uv": "uv pip", "clone with its own uv": ".uv/bin/uv pip"}.get(
        place, "pip"
    )
    option = "--force-reinstall" if pip == "pip" else "--reinstall"
    assert packages.install_package("a[b]") == f"{pip} install 'a[b]'"
    assert packages.install_again("openvino") == f"{pip} install {option} openvino"


def test_edge_doctor_and_a_backend_that_is_asked_for_say_the_same(place, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.delitem(sys.modules, "edge.backends.openvino", raising=False)
    monkeypatch.setattr(doctor, "_version", lambda _: None)
    command = packages.install_extra("openvino")
    rows = {row.name: row.cure for row in doctor.examine()}
    assert rows["OpenVINO"].startswith(f"{command} if edge-run")
    assert packages.install_extra("basler") in rows["pypylon"]
    with pytest.raises(ImportError) as caught:
        BACKENDS["openvino"].load()
    said = str(packages.missing_package(caught.value))
    assert said == f"The package 'openvino' is not installed. Install it: `{command}`."


def test_no_other_place_says_how_to_install_a_package():
    said = re.compile(r"pip install|uv sync|uv pip|loomsight\[")
    places = [
        str(path.relative_to(ROOT))
        for top in ("edge", "distill", "export")
        for path in (ROOT / top).rglob("*.py")
        if said.search(path.read_text(encoding="utf-8"))
    ]
    assert places == ["edge/process/packages.py"]
