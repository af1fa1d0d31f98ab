"""Pseudo-labels before a person: a page that puts the hardest first, and a log that loses no decision."""
