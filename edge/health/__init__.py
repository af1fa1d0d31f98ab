"""Report how a run is doing: metrics, a health check, systemd."""
