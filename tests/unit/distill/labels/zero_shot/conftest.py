from __future__ import annotations

import pytest

from tests.unit.distill.labels.zero_shot.small import write_grounding_dino, write_owlv2, write_owlvit


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """Folders of small detectors by model type; not to be written to."""
    root = tmp_path_factory.mktemp("zero_shot")
    return {
        "grounding-dino": write_grounding_dino(root / "dino"),
        "owlv2": write_owlv2(root / "owlv2"),
        "owlvit": write_owlvit(root / "owlvit"),
    }
