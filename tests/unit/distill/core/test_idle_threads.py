"""Threads of torch that wait sleep, unless the user says otherwise."""

from __future__ import annotations

import os

import pytest
from typer.testing import CliRunner

from distill.commands.pseudo_label_cli import app
from edge.core.errors import LoomsightError


@pytest.mark.parametrize(
    ("policy", "kept"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE"), ("active", "active")]
)
def test_pseudo_label_lets_idle_threads_sleep_unless_a_policy_is_set(tmp_path, monkeypatch, policy, kept):
    monkeypatch.setenv("OMP_WAIT_POLICY", policy or "")
    if policy is None:
        monkeypatch.delenv("OMP_WAIT_POLICY")
    done = CliRunner().invoke(app, [str(tmp_path / "nowhere")])
    assert isinstance(done.exception, LoomsightError)
    assert os.environ["OMP_WAIT_POLICY"] == kept
