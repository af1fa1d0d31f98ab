from __future__ import annotations

import pytest
import torch

from distill.labels.sam.small_model import write_small_sam

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    """The folder of a small SAM; not to be written to."""
    return write_small_sam(tmp_path_factory.mktemp("sam") / "base")
