"""The artefact a box runs: written, published, opened, installed, shown."""
