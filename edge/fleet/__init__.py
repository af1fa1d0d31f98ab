"""Collect what all devices report: from the broker into a database, and from there to tables and dashboards."""
