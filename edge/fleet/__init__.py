"""Collect what all devices report: from the broker into a database, then to tables and dashboards."""
