"""Serve HTTP behind one door: page, health and review page have the same rules."""
