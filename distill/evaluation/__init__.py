"""Evaluate a detector: confusion, curves, scorecard, and the worst mistakes as images."""
