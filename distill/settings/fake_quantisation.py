"""Define the table `[fake_quantisation]` of a recipe: training that gets used to INT8.

Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference,
CVPR 2018: weights and activations are rounded in the forward pass as they will be, gradients pass as if
they were not.
"""

from __future__ import annotations

from pydantic import Field

from distill.core.value import FiniteValue


class FakeQuantisation(FiniteValue):
    """Say how a detector is trained on for INT8.

    Attributes:
        range_share: of a batch in the range of each activation, which is a moving average of the batches'
            greatest values.
    """

    range_share: float = Field(default=0.05, gt=0, le=1)
