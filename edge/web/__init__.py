"""Serve HTTP behind one door: page, health server and review page have the same rules."""
