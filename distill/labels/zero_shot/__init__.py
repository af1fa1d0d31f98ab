"""Annotate by open-vocabulary detectors: they find what the taxonomy's words describe, untrained."""
