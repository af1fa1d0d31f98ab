from __future__ import annotations

import io

import pytest
from rich.console import Console

from edge.app import live_view
from edge.app.live_view import LiveView
from edge.pipeline.run_state import RunState


def shown_by(state, monkeypatch, terminal):
    """Return what a view prints for one state, without waiting for its next turn."""
    monkeypatch.setattr(live_view, "REFRESH_S", 0)
    monkeypatch.setattr(live_view, "LOG_EVERY_S", 0)
    stream = io.StringIO()
    with LiveView(Console(file=stream, force_terminal=terminal, width=200)) as view:
        view.line_of("front").update(state, [])
        return stream.getvalue()


@pytest.mark.parametrize("terminal", [False, True], ids=["log", "terminal"])
def test_a_silent_camera_is_shown_as_such(monkeypatch, terminal):
    silent = shown_by(RunState(silent_s=12.4), monkeypatch, terminal)
    assert "no frame for 12 s" in silent
    assert "frames/s" not in silent
    delivering = shown_by(RunState(), monkeypatch, terminal)
    assert "frames/s" in delivering
    assert "no frame" not in delivering


def test_a_slow_camera_is_not_called_silent(monkeypatch):
    assert shown_by(RunState(silent_s=0.7), monkeypatch, terminal=False) == ""
