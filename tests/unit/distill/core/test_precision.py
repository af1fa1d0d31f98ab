from __future__ import annotations

import pytest
import torch

from distill.core.precision import choose_device, choose_precision, processor_computes_bf16
from edge.core.errors import ConfigError


def test_auto_takes_bf16_only_where_the_processor_has_it():
    chosen = choose_precision("auto", torch.device("cpu"))
    assert chosen.name == ("bf16" if processor_computes_bf16() else "float32")
    assert choose_precision("auto", torch.device("cuda")).name == "amp"


def test_amp_needs_cuda():
    with pytest.raises(ConfigError, match="amp"):
        choose_precision("amp", torch.device("cpu"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_without_a_gpu_cuda_is_refused_and_auto_is_the_processor():
    assert choose_device("auto").type == "cpu"
    with pytest.raises(ConfigError, match="CUDA"):
        choose_device("cuda")


def test_bf16_computes_in_bf16():
    with choose_precision("bf16", torch.device("cpu")).autocast():
        assert (torch.rand(2, 2) @ torch.rand(2, 2)).dtype == torch.bfloat16
