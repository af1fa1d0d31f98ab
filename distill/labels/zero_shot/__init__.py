"""Open-vocabulary detectors as annotators: they find what the taxonomy's words describe, untrained."""
