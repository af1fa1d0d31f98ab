"""How a run is doing, for those who look after many: metrics, a health check, systemd."""
