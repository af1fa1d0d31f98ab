"""Health and metrics on a free port, as edge-run serves them where `health_port` is set."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager

from edge.config.edge import EdgeConfig
from edge.page.server import serve_probes


@contextmanager
def served_probes(cameras, port=0, **settings):
    """Serve the health of some cameras; yields the port."""
    with ExitStack() as stack:
        yield serve_probes(EdgeConfig(**settings), port, cameras, stack)
