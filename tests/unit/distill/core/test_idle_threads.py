"""Threads of torch that wait sleep, unless the user says otherwise."""

from __future__ import annotations

import os

import pytest
from typer.testing import CliRunner

from distill.commands.pseudo_label_cli import app
from distill.core.idle_threads import let_idle_threads_sleep
from edge.core.errors import LoomsightError


def test_pseudo_label_lets_idle_threads_sleep(tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    done = CliRunner().invoke(app, [str(tmp_path / "nowhere")])
    assert isinstance(done.exception, LoomsightError)
    assert os.environ.pop("OMP_WAIT_POLICY") == "PASSIVE"


@pytest.mark.parametrize("policy", ["ACTIVE", "active"])
def test_a_policy_that_is_set_stays(policy):
    environment = {"OMP_WAIT_POLICY": policy}
    let_idle_threads_sleep(environment)
    assert environment == {"OMP_WAIT_POLICY": policy}
