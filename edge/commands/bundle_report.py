"""Report what a bundle holds, as a table or as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edge.bundle.layers import bar
from edge.bundle.opening import Bundle, is_sealed, model_digest_of, open_bundle
from edge.bundle.store import BUNDLES_NAME, bundle_path, is_store, read_state
from edge.core.settings import shown
from edge.process.terminal import as_cell
from edge.process.whole_table import WholeTable, wide_console

WORST_LAYERS = 8


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
    copied = {key: manifest[key] for key in ("contract", "scorecard", "parity")}
    variants = {one["precision"]: {"file": one["file"], **one["made"]} for one in manifest["variants"]}
    more = {"variants": variants} if variants else {}
    more |= {"ancestry": manifest["ancestry"]} if manifest["ancestry"] else {}
    more |= {"layers": manifest["layers"]} if manifest["layers"] else {}
    return {"made": made, "model": model, **copied, **more}


def print_facts(facts: Mapping[str, Any], as_json: bool) -> None:
    """Print facts to stdout."""
    if as_json:
        print(json.dumps(facts, indent=1))
        return
    console = wide_console()
    console.print(as_cell(str(facts["path"])), soft_wrap=True)
    parity = dict(facts.get("parity") or {})
    models = parity.pop("models", ()) if _are_rows(parity.get("models", ())) else ()
    variants = facts.get("variants", {})
    for title, values in {**facts, "parity": parity}.items():
        if title in ("path", "ancestry", "layers", "variants"):
            continue
        table = WholeTable(title, "", title_justify="left")
        for key, value in flat(values or {"": "nothing known"}).items():
            table.add_row(as_cell(key), as_cell(value))
        console.print(table)
    if "ancestry" in facts:
        console.print(ancestry_table(facts["ancestry"]))
    if models:
        console.print(models_table(models))
    for precision, made in variants.items():
        console.print(_variant_table(precision, made))
    if "layers" in facts:
        console.print(_layers_table(facts["layers"]))


def ancestry_table(stages: Sequence[Mapping[str, Any]]) -> WholeTable:
    """Lay out what a model was after each stage, as a bundle's `ancestry` says it."""
    table = WholeTable(
        "ancestry", "M weights", "GMACs", "mAP50", "mAP50-95", "recall", "false alarms per m2", "p50 ms"
    )
    for one in stages:
        table.add_row(
            as_cell(one["stage"]),
            f"{one['parameters'] / 1e6:.2f}",
            f"{one['macs'] / 1e9:.3f}",
            *(_digits(one[key], 4) for key in ("map50", "map50_95")),
            _digits(one["recall"], 3),
            _digits(one["false_alarms_per_clean_m2"], 2),
            _digits(one["p50_ms"], 1),
        )
    return table


def _are_rows(rows: Any) -> bool:
    """Tell whether a report on models is one that `models_table` can lay out; any other is printed flat."""
    try:
        models_table(rows)
    except (LookupError, TypeError, ValueError, ArithmeticError):
        return False
    return True


def models_table(rows: Sequence[Mapping[str, Any]]) -> WholeTable:
    """Lay out what each model of a bundle gives on each runtime, as its `parity.models` says it."""
    heads = (
        "model",
        "runtime",
        "boxes px",
        "scores",
        "matched",
        "mAP50",
        "mAP50-95",
        "drop",
        "p50 ms",
        "p99 ms",
    )
    has_strips = any(row.get("strips_map50_95") is not None for row in rows)
    table = WholeTable(*heads, *(("strips mAP50-95", "drop") if has_strips else ()))
    for row in rows:
        table.add_row(
            row["precision"],
            as_cell(row["runtime"]),
            f"{row['boxes_max_px']:.2g}",
            f"{row['scores_max']:.2g}",
            f"{row['matched']:.3f} of {row['detections']}",
            *(_digits(row[key], 4) for key in ("map50", "map50_95", "drop")),
            f"{row['latency']['p50_ms']:.1f}",
            f"{row['latency']['p99_ms']:.1f}",
            *(_digits(row.get(key), 4) for key in ("strips_map50_95", "strips_drop") if has_strips),
        )
    return table


def _digits(value: float | None, digits: int) -> str:
    return "—" if value is None else f"{value:.{digits}f}"


def _variant_table(precision: str, made: Mapping[str, Any]) -> WholeTable:
    """Lay out how a variant was made; of the sensitivity, the worst layers and those left out."""
    table = WholeTable(f"variant {precision}", "", title_justify="left")
    left_out, costs = made.get("layers_left_out", ()), made.get("sensitivity", {})
    if not isinstance(left_out, list | tuple) or not _are_numbers(costs):
        left_out, costs = (), {}
    for key, value in flat({k: v for k, v in made.items() if k != "sensitivity"}).items():
        table.add_row(as_cell(key), as_cell(value))
    for name in [one for place, one in enumerate(costs) if place < WORST_LAYERS or one in left_out]:
        kept = ", stays in float32" if name in left_out else ""
        table.add_row(as_cell(name.removeprefix("/module/")), f"costs {costs[name]:.4f}{kept}")
    return table


def _are_numbers(values: Any) -> bool:
    return isinstance(values, Mapping) and all(isinstance(value, int | float) for value in values.values())


def _layers_table(layers: Sequence[Mapping[str, Any]]) -> WholeTable:
    table = WholeTable("layer", "million MACs", "", "thousand weights", "", title_justify="left")
    greatest = {key: max(layer[key] for layer in layers) for key in ("macs", "parameters")}
    for layer in layers:
        macs, parameters = layer["macs"], layer["parameters"]
        table.add_row(
            as_cell(layer["name"]),
            f"{macs / 1e6:.2f}",
            bar(macs, greatest["macs"]),
            f"{parameters / 1e3:.1f}",
            bar(parameters, greatest["parameters"]),
        )
    return table


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
    if isinstance(value, Mapping):
        return " ".join(f"{key}={_shown(part)}" for key, part in value.items()) or "none"
    if isinstance(value, (list, tuple)):
        return (", " if all(not isinstance(part, Mapping) for part in value) else "; ").join(
            _shown(part) for part in value
        ) or "none"
    return "—" if value is None else shown(value) if isinstance(value, int) else str(value)
