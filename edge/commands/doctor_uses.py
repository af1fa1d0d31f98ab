"""Say of each use what this device can do: inspect, talk to the plant, train."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

from edge.bench.capacity import printed_ratio
from edge.bench.quick import QuickResult, quick_results
from edge.commands.finding import DeviceFinding
from edge.config.edge import EdgeConfig
from edge.core.errors import LoomsightError
from edge.process.other_load import BUSY_CORES, busy_words
from edge.process.packages import install_extra

WIDTH_M: Final = 1.6
"""Of the cloth that a capacity is said for: a usual width of woven cloth."""

SPEED_DIGITS: Final = 1
"""Behind the point, of speeds."""

WORTH_IT: Final = 1.1
"""A backend that does less than this many times as much is no advice."""

MEASURE: Final = "edge-bench --lines"

PLANT_MODULES: Final = {
    "paho": "MQTT", "pymodbus": "Modbus", "starlette": "live page", "prometheus_client": "metrics",
}  # fmt: skip


def uses(*, is_measured: bool) -> list[DeviceFinding]:
    """Return a finding for each use.

    Args:
        is_measured: whether the network is timed, some seconds for each backend.
    """
    return [inspection() if is_measured else _not_measured(), _plant(), _training()]


def inspection() -> DeviceFinding:
    """Time the shipped model and say how fast cloth may pass, and what would be faster."""
    try:
        results = quick_results(EdgeConfig())
    except LoomsightError as error:
        return DeviceFinding("use: inspection", "broken", error.problem, error.cure)
    except ImportError as error:
        return DeviceFinding("use: inspection", "broken", str(error), "See the rows of the backends.")
    return inspection_finding(results)


def inspection_finding(results: list[QuickResult]) -> DeviceFinding:
    """Judge what was measured; the first result is that of the default backend."""
    default, best = results[0], max(results, key=lambda one: one.tiles_per_s)
    lines = [f"can run at {_capacity(one)} ({one.description})" for one in results]
    lines.append(f"the network alone, a second each; `{MEASURE}` measures the whole loop")
    load = max((one.other_load_cores or 0.0 for one in results), default=0.0)
    if load > BUSY_CORES:
        lines.append(f"warning: {busy_words(load)}")
    return DeviceFinding("use: inspection", "ok", "\n".join(lines), _advice(default, best, results))


def _speed(one: QuickResult) -> float:
    """Return the number that is printed of a result: metres a minute, or tiles a second without a scale."""
    speed = one.m_per_min(WIDTH_M)
    return one.tiles_per_s if speed is None else speed


def _capacity(one: QuickResult) -> str:
    speed = f"{_speed(one):.{SPEED_DIGITS}f}"
    if one.m2_per_min is None:
        return f"{speed} tiles/s"
    return f"{speed} m/min x {WIDTH_M:g} m at {one.mm_per_px:g} mm/px"


def _advice(default: QuickResult, best: QuickResult, results: list[QuickResult]) -> str:
    times = printed_ratio(_speed(best), _speed(default), SPEED_DIGITS, 1)
    if times >= WORTH_IT:
        return f"{best.backend} does {times:.1f} times as much: edge-run --backend {best.backend}"
    if all(one.backend != "openvino" for one in results) and "cpu" in default.description.lower():
        return (
            f"OpenVINO is often faster on a processor: {install_extra('openvino')}, then edge-doctor again"
        )
    return ""


def _not_measured() -> DeviceFinding:
    detail = "not measured"
    return DeviceFinding("use: inspection", "ok", detail, f"Leave --no-measure out, or run {MEASURE}.")


def _plant() -> DeviceFinding:
    lacking = [what for module, what in PLANT_MODULES.items() if find_spec(module) is None]
    if lacking:
        cure = f"If the plant is to be told: {install_extra('mill')}"
        return DeviceFinding("use: plant", "ok", f"not installed: {', '.join(lacking)}", cure)
    return DeviceFinding("use: plant", "ok", f"can use {', '.join(PLANT_MODULES.values())}")


def _training() -> DeviceFinding:
    if find_spec("torch") is None:
        cure = f"If models are to be trained here: {install_extra('workbench')}"
        return DeviceFinding("use: training", "ok", "the workbench is not installed", cure)
    return DeviceFinding("use: training", "ok", "the workbench is installed: loomsight distill")
