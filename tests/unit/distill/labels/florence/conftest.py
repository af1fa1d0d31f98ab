from __future__ import annotations

import pytest

from tests.unit.distill.labels.florence.small import small_folder, small_set


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    """The folder of a small Florence-2; not to be written to."""
    return small_folder(tmp_path_factory.mktemp("teacher") / "base")


@pytest.fixture(scope="session")
def other_base(tmp_path_factory):
    """One of another size."""
    return small_folder(tmp_path_factory.mktemp("teacher") / "other", d_model=64)


@pytest.fixture(scope="session")
def labels(tmp_path_factory):
    return small_set(tmp_path_factory.mktemp("teacher") / "set")
