from __future__ import annotations

import inspect

from edge.app import run as app
from edge.commands import cli
from edge.commands import simulate as simulating
from edge.config import device

NO_SETTINGS = {"config", "only", "verbose"}


def test_every_flag_of_edge_run_is_handed_on_under_its_own_name(monkeypatch):
    monkeypatch.setattr(device, "box_from_process", lambda file, flags, only: (file, flags, only))
    handed = []
    monkeypatch.setattr(app, "run_box", handed.append)
    names = inspect.signature(cli.edge_run).parameters.keys()
    cli.edge_run(**{name: name for name in names})
    assert handed == [("config", {name: name for name in names if name not in NO_SETTINGS}, "only")]


def test_every_flag_of_simulate_is_handed_on_under_its_own_name(monkeypatch):
    handed = []
    monkeypatch.setattr(simulating, "simulate_dataset", lambda *given: handed.append(given))
    names = inspect.signature(cli.simulate).parameters.keys()
    cli.simulate(**{name: name for name in names})
    lists = {"difficulty": "difficulties", "category": "categories"}
    settings = {lists.get(name, name): name for name in names if name not in ("out", "taxonomy")}
    assert handed == [("out", settings, "taxonomy")]
