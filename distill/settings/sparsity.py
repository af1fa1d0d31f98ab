"""Define the table `[sparsity]` of a recipe: training that makes channels easy to prune.

Liu et al., Learning Efficient Convolutional Networks through Network Slimming, ICCV 2017: an L1 penalty on
the scales of batch normalisation drives those of channels that matter little towards 0.
"""

from __future__ import annotations

from pydantic import Field

from distill.core.value import FiniteValue


class Sparsity(FiniteValue):
    """Say how strongly the scales of batch normalisation are drawn towards 0.

    Attributes:
        strength: added to the gradient of each scale, with its sign, in the first epoch.
        final_share: what is left of it at the end; it falls in a line.
    """

    strength: float = Field(default=1e-3, gt=0, le=1)
    final_share: float = Field(default=0.1, ge=0, le=1)

    def strength_at(self, epoch: int, epochs: int) -> float:
        """Return the strength in an epoch, counted from 0: s (1 - 0.9 epoch / epochs) by default."""
        return self.strength * (1 - (1 - self.final_share) * epoch / epochs)
