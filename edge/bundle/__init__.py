"""Write, publish, open, install and show bundles: the artefact that a device runs."""
