"""Handle labels: their formats and checks, the annotators that propose them, and their review."""
