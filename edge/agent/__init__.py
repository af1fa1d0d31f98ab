"""Fetch what the office releases: the small part of it that runs on a device."""
