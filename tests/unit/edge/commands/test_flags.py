from __future__ import annotations

import inspect

import pytest
from typer.testing import CliRunner

from edge.app import run as app
from edge.commands import run_cli, simulate_cli
from edge.config import device
from edge.config.edge import EdgeConfig
from edge.core.errors import ConfigError
from tests.processes import loomsight

NO_SETTINGS = {"config", "only", "verbose"}


def test_every_flag_of_edge_run_is_handed_on_under_its_own_name(monkeypatch):
    monkeypatch.setattr(device, "box_from_process", lambda file, flags, only: (file, flags, only))
    handed = []
    monkeypatch.setattr(app, "run_box", handed.append)
    names = inspect.signature(run_cli.edge_run).parameters.keys()
    run_cli.edge_run(**{name: name for name in names})
    assert handed == [("config", {name: name for name in names if name not in NO_SETTINGS}, "only")]


def test_every_flag_of_simulate_is_handed_on_under_its_own_name(monkeypatch):
    handed = []
    monkeypatch.setattr(simulate_cli, "simulate_dataset", lambda *given: handed.append(given))
    names = inspect.signature(simulate_cli.simulate).parameters.keys()
    simulate_cli.simulate(**{name: name for name in names})
    lists = {"difficulty": "difficulties", "category": "categories"}
    settings = {lists.get(name, name): name for name in names if name not in ("out", "taxonomy")}
    assert handed == [("out", settings, "taxonomy")]


def test_the_help_of_edge_run_fits_one_screen():
    shown = CliRunner().invoke(run_cli.app, ["--help"], env={"COLUMNS": "80", "TERMINAL_WIDTH": "80"})
    assert shown.exit_code == 0
    assert len(shown.output.splitlines()) <= 43
    assert max(map(len, shown.output.splitlines())) <= 80


FLAGS = inspect.signature(run_cli.edge_run).parameters.keys()
TABLES = {
    "agent": "[agent]",
    "articles": "[articles.NAME]",
    "audit": "[audit]",
    "buyers": "[buyers.NAME]",
    "cameras": "[cameras.NAME]",
    "grade_limits": "[grade_limits]",
    "machine": "[machine]",
    "opcua": "[opcua]",
    "score_thresholds": "[score_thresholds]",
    "trust": "[trust]",
}
WITHOUT_FLAG = sorted(EdgeConfig.model_fields.keys() - FLAGS - TABLES.keys())


@pytest.mark.parametrize("key", TABLES)
def test_a_table_without_a_flag_is_named_as_it_stands_in_the_file(key):
    flag = f"--{key.replace('_', '-')}"
    refused = loomsight("edge-run", flag, "tcp://plc:502")
    in_environment = f", or set LOOMSIGHT_EDGE_{key.upper()} to JSON" if key != "cameras" else ""
    assert refused.returncode == ConfigError.exit_code
    assert f"{flag} is no flag: {key} is a table." in refused.stderr
    assert f"Write `{TABLES[key]}` into the file of --config{in_environment}." in refused.stderr
    assert "= ..." not in refused.stderr


@pytest.mark.parametrize("key", WITHOUT_FLAG)
def test_a_setting_without_a_flag_is_named_where_it_is_typed_as_one(key):
    flag = f"--{key.replace('_', '-')}"
    with pytest.raises(ConfigError) as refused:
        CliRunner().invoke(run_cli.app, [f"{flag}=1"], catch_exceptions=False)
    assert refused.value.problem == f"{flag} is no flag: {key} is a setting."
    assert f"`{key} = ...`" in str(refused.value)
    assert f"LOOMSIGHT_EDGE_{key.upper()}" in str(refused.value)


def test_the_opposite_of_a_setting_without_a_flag_is_named_too():
    with pytest.raises(ConfigError, match="--no-reconnect is no flag: reconnect is a setting"):
        CliRunner().invoke(run_cli.app, ["--no-reconnect"], catch_exceptions=False)


def test_a_flag_of_no_setting_is_refused_with_the_usage():
    refused = CliRunner().invoke(run_cli.app, ["--queue"])
    assert refused.exit_code == 2
    assert "No such option: --queue" in refused.output
