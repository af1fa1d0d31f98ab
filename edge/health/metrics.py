"""Gather the metrics of a run for Prometheus when they are read: they cost a frame nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from edge import __version__
from edge.cameras.protocol import GAP_REASONS
from edge.core.latency import LatencyHistogram
from edge.decisions.stops import Stops
from edge.health.state import Health, Healths
from edge.pipeline.run_state import RunSnapshot

if TYPE_CHECKING:
    from edge.mqtt.publisher import Publisher

BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class DeviceMetrics(Collector):
    """Gather the metrics of all cameras, each with the label `camera`; the only one of a device has
    none."""

    def __init__(self, cameras: Healths) -> None:
        self._cameras = cameras

    def collect(self) -> Iterator[Metric]:
        """Yield each metric as it stands; see docs/health.md."""
        yield _labelled(GaugeMetricFamily, "info", "Of this program.", "version", {__version__: 1})
        families: dict[str, Metric] = {}
        for name, health in self._cameras.items():
            for metric in _of_camera(health):
                if name is not None:
                    metric.samples = [_with_label(sample, name) for sample in metric.samples]
                families.setdefault(metric.name, metric)
                if families[metric.name] is not metric:
                    families[metric.name].samples += metric.samples
        yield from families.values()


def _with_label(sample: Sample, camera: str) -> Sample:
    return sample._replace(labels={"camera": camera, **sample.labels})


def _of_camera(health: Health) -> Iterator[Metric]:
    run, helpers = health.snapshot, health.helpers
    yield _gauge("healthy", "1 while /healthz answers 200.", health.verdict().is_well)
    yield _gauge("idle_seconds", "Since the last finished frame.", health.idle_s)
    yield _gauge("loom_stands", "1 while the loom is known to stand.", health.loom_stands)
    defects = run.defects_by_class if run is not None else {}
    yield _labelled(CounterMetricFamily, "defects", "Complete, on the roll.", "class", defects)
    yield _labelled(
        CounterMetricFamily, "helper_failures", "Not foreseen, by thread.", "thread", helpers.failures
    )
    yield _gauge("helpers_dead", "Helper threads that ended early.", len(helpers.dead))
    if run is not None:
        yield from _of_run(run)
    if health.stops is not None:
        yield from _of_stops(health.stops)
    if health.publisher is not None:
        yield from _of_broker(health.publisher)


def _of_stops(stops: Stops) -> Iterator[Metric]:
    counts = {kind.replace(" ", "_").replace("-", "_"): n for kind, n in dict(stops.counts).items()}
    yield _labelled(CounterMetricFamily, "stop_events", "See docs/stop.md.", "kind", counts)
    yield _histogram("decision_seconds", "From the end of the capture to the decision.", stops.decided)
    yield _histogram("stop_latency_seconds", "From there to the machine.", stops.acknowledged)
    if stops.delivery is not None:
        yield _gauge("machine_reachable", "1 if it answers.", stops.delivery.is_reachable is True)


def _of_broker(publisher: Publisher) -> Iterator[Metric]:
    yield _gauge("broker_connected", "1 while connected.", publisher.is_connected is True)
    yield _gauge("outbox_depth", "Messages that wait for the broker.", publisher.depth)
    yield _counter("messages_sent", "Acknowledged by the broker.", publisher.sent)


def metrics_text(cameras: Healths) -> bytes:
    """Return the metrics in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(DeviceMetrics(cameras))
    return generate_latest(registry)


def _of_run(run: RunSnapshot) -> Iterator[Metric]:
    coverage = run.total
    yield _counter("frames", "Inspected.", coverage.frames_inspected)
    yield _counter("frames_without_cloth", "Not inspected: no cloth.", coverage.frames_without_cloth)
    yield _counter("frames_dropped", "Dropped: the device was too slow.", coverage.frames_dropped)
    yield _counter("frames_unreadable", "Could not be read.", run.unreadable)
    yield _labelled(CounterMetricFamily, "detections", "Boxes in frames.", "class", run.detections_by_class)
    yield _gauge("queue_frames", "Captured, waiting for inspection.", run.waiting_frames)
    yield _gauge("camera_silent_seconds", "0 while frames come.", run.silent_s)
    yield _gauge("camera_up", "0 while a live camera is away or gives nothing of use.", not run.camera_down)
    yield _counter("camera_down_seconds", "So long it was, until it came back.", coverage.seconds_down)
    counted = {name.replace(":", "").replace(" ", "_"): n for name, n in run.camera_counters.items()}
    yield _labelled(CounterMetricFamily, "camera_events", "See docs/cameras.md.", "what", counted)
    yield _gauge("metres_inspected", "On this run.", coverage.metres_inspected)
    teaching = run.teaching
    yield _gauge("teaching", "1 while an article is being learnt.", teaching is not None)
    yield _gauge("teaching_metres", "Read of it so far.", teaching.metres if teaching else 0.0)
    yield _counter("rolls_ended", "Ended by a change of roll.", run.rolls_ended)
    yield _gauge("roll_metres_inspected", "Of the roll that passes.", run.roll.metres_inspected)
    yield _gauge("roll_defects", "Complete, on the roll that passes.", run.roll_defects)
    gaps = {reason.replace(" ", "_"): coverage.gap_metres(reason) for reason in GAP_REASONS}
    yield _labelled(GaugeMetricFamily, "gap_metres", "Passed and not inspected.", "reason", gaps)
    yield _gauge("coverage_ratio", "Fraction of what passed that was inspected.", coverage.fraction or 0.0)
    yield _histogram("latency_seconds", "Of a frame, from the queue to its record.", run.latency)
    yield _histogram("age_seconds", "Of a frame, from its capture to its record.", run.age)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"loomsight_{name}", text, value=float(value))


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"loomsight_{name}", text, value=value)


def _labelled(
    kind: type[CounterMetricFamily] | type[GaugeMetricFamily],
    name: str,
    text: str,
    label: str,
    values: Mapping[str, float],
) -> Metric:
    family = kind(f"loomsight_{name}", text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _histogram(name: str, text: str, latency: LatencyHistogram) -> Metric:
    """Return durations in cumulative buckets; the bins of the histogram are finer than these."""
    total = len(latency)
    buckets = [(str(most_s), float(latency.count_up_to(most_s * 1000))) for most_s in BUCKETS_S]
    return HistogramMetricFamily(
        f"loomsight_{name}",
        text,
        buckets=[*buckets, ("+Inf", float(total))],
        sum_value=latency.total_ms / 1000,
    )
