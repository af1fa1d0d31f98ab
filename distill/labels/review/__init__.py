"""Review pseudo-labels: a page that puts the hardest first, and a log that loses no decision."""
