"""What a bundle says of itself, as a table or as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from edge.bundle import Bundle, is_sealed, model_digest_of, open_bundle
from edge.bundle_store import BUNDLES_NAME, bundle_path, is_store, read_state


def bundle_facts(path: Path) -> dict[str, Any]:
    """Return what a bundle, the current bundle of a store, or a bare ONNX file says of itself.

    Raises:
        ModelError, ContractError: if it is damaged, or nothing is there.
    """
    bundle = open_bundle(bundle_path(path))
    facts: dict[str, Any] = {"path": str(bundle.path)}
    if is_store(path):
        state = read_state(path)
        kept = sorted(
            entry.name for entry in (path / BUNDLES_NAME).iterdir() if not entry.name.startswith(".")
        )
        facts["store"] = {"current": state.current, "previous": state.previous, "installed": kept}
    return facts | _manifest_facts(bundle)


def _manifest_facts(bundle: Bundle) -> dict[str, Any]:
    size_mb = round(bundle.model_path.stat().st_size / 1e6, 2)
    model = {"sha256": model_digest_of(bundle), "size_mb": size_mb}
    if bundle.manifest is None:
        from edge.backends.onnxruntime import read_contract

        return {"model": model, "contract": read_contract(bundle.model_path).model_dump(mode="json")}
    manifest = bundle.manifest.model_dump(mode="json")
    made = {key: manifest[key] for key in ("format", "loomsight_version", "created_utc")}
    made |= {"sealed": is_sealed(bundle.path), "golden_pictures": len(bundle.manifest.golden)}
    told = {key: manifest[key] for key in ("contract", "scorecard", "parity")}
    return {"made": made, "model": model, **told}


def print_facts(facts: Mapping[str, Any], as_json: bool) -> None:
    """Print facts to stdout."""
    if as_json:
        print(json.dumps(facts, indent=1))
        return
    console = Console()
    console.print(escape(str(facts["path"])), soft_wrap=True)
    for title, values in facts.items():
        if title == "path":
            continue
        table = Table(title, "", title_justify="left")
        for key, value in flat(values or {"": "nothing known"}).items():
            table.add_row(escape(key), escape(value))
        console.print(table)


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return nested values as text by dotted name, floats with four significant digits."""
    rows: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            rows |= flat(value, f"{prefix}{key}.")
        else:
            rows[f"{prefix}{key}"] = _shown(value)
    return rows


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(_shown(part) for part in value) or "none"
    return "—" if value is None else str(value)
