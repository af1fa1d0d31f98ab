"""Write what Grafana needs: data sources, and dashboards made from the questions in `queries`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from edge.core.files import write_whole
from edge.fleet.queries import Query, queries

DATABASE: Final = {"type": "postgres", "uid": "loomsight-database"}
PROMETHEUS: Final = {"type": "prometheus", "uid": "loomsight-prometheus"}
WIDE, HIGH = 24, 9

DASHBOARDS: Final = {
    "looms": ("Looms at a glance", ("looms", "rolls", "defects")),
    "pareto": ("Pareto of defects", ("pareto-kind", "pareto-loom", "pareto-article", "pareto-shift")),
    "verdicts": ("False alarms", ("false-alarms",)),
    "coverage": ("Coverage and gaps", ("coverage", "gaps")),
    "capacity": ("Capacity and health", ("capacity", "refused")),
    "models": ("Versions of models", ("models",)),
}
"""Name -> title, and the questions that it answers."""

OFFICE: Final = {
    "Rows stored per second": "sum(rate(loomsight_office_rows_total[5m])) by (table)",
    "Lag, p99 (s)": "histogram_quantile(0.99, sum(rate(loomsight_office_lag_seconds_bucket[5m])) by (le))",
    "Waiting messages": "loomsight_office_waiting",
    "Refused messages": "increase(loomsight_office_refused_total[1h])",
}

SOURCES: Final = """\
apiVersion: 1
datasources:
  - name: loomsight
    uid: loomsight-database
    type: postgres
    url: ${LOOMSIGHT_DATABASE_HOST}
    user: ${LOOMSIGHT_DATABASE_USER}
    jsonData: {database: loomsight, sslmode: "${LOOMSIGHT_DATABASE_TLS}", postgresVersion: 1500}
    secureJsonData: {password: "${LOOMSIGHT_DATABASE_PASSWORD}"}
  - name: Prometheus
    uid: loomsight-prometheus
    type: prometheus
    url: ${LOOMSIGHT_PROMETHEUS_URL}
"""
PROVIDER: Final = """\
apiVersion: 1
providers:
  - name: loomsight
    folder: loomsight
    type: file
    options: {path: /etc/grafana/provisioning/dashboards}
"""


def provisioning() -> dict[str, str]:
    """Return the files below Grafana's folder of provisioning, by their names."""
    known = queries()
    files = {"datasources/loomsight.yaml": SOURCES, "dashboards/loomsight.yaml": PROVIDER}
    for name, (title, questions) in DASHBOARDS.items():
        panels = [_table(known[question], n) for n, question in enumerate(questions)]
        files[f"dashboards/{name}.json"] = _dashboard(name, title, panels)
    graphs = [_graph(title, expression, n) for n, (title, expression) in enumerate(OFFICE.items())]
    files["dashboards/office.json"] = _dashboard("office", "The office itself", graphs)
    return files


def write_provisioning(folder: Path) -> int:
    """Write the files; returns how many.

    Raises:
        OutputError: if they cannot be written.
    """
    files = provisioning()
    for name, text in files.items():
        write_whole(folder / name, text.encode())
    return len(files)


def _dashboard(name: str, title: str, panels: list[dict[str, Any]]) -> str:
    board = {
        "uid": f"loomsight-{name}",
        "title": title,
        "tags": ["loomsight"],
        "timezone": "browser",
        "refresh": "1m",
        "schemaVersion": 39,
        "time": {"from": "now-7d", "to": "now"},
        "panels": panels,
    }
    return json.dumps(board, indent=1) + "\n"


def _table(query: Query, number: int) -> dict[str, Any]:
    sql = query.spelt("$__timeFrom()::timestamptz", "$__timeTo()::timestamptz")
    return {
        **_panel(number, query.title, "table", DATABASE),
        "description": query.answers,
        "targets": [
            {"refId": "A", "datasource": DATABASE, "format": "table", "rawQuery": True, "rawSql": sql}
        ],
    }


def _graph(title: str, expression: str, number: int) -> dict[str, Any]:
    return {
        **_panel(number, title, "timeseries", PROMETHEUS),
        "targets": [{"refId": "A", "datasource": PROMETHEUS, "expr": expression}],
    }


def _panel(number: int, title: str, kind: str, source: dict[str, str]) -> dict[str, Any]:
    place = {"x": 0, "y": number * HIGH, "w": WIDE, "h": HIGH}
    return {"id": number + 1, "title": title, "type": kind, "datasource": source, "gridPos": place}
