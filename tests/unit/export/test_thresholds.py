from __future__ import annotations

import pytest

from edge.core.errors import ConfigError
from export.cli import parse_thresholds
from tests.conftest import bright_cell_contract


def test_thresholds_are_read_and_put_in_the_contract():
    contract = bright_cell_contract().with_thresholds(parse_thresholds(["drop=0.4", "broken=1"]))
    assert contract.score_thresholds == {"wrinkle": 0.5, "drop": 0.4, "broken": 1.0}


@pytest.mark.parametrize("text", ["drop", "drop=", "drop=much", "drop=2", "drop=-0.1", "drop=nan"])
def test_a_threshold_that_is_none(text):
    with pytest.raises(ConfigError, match="--threshold"):
        parse_thresholds([text])


def test_a_class_that_the_model_does_not_have():
    with pytest.raises(ConfigError, match="oil"):
        bright_cell_contract().with_thresholds({"oil": 0.4})
