"""Variants of the reference model, one change each: what its parts are worth (reference.py --variants)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import onnx
import onnx.utils
import onnxruntime as ort
import torch
import torch.nn.functional as F

from edge.backends.onnx_session import session_options
from edge.reference import contrast, follow, maps, model, taught
from edge.reference.maps import CHANNELS
from edge.reference.trunk import Trunk

DEMO_MODEL = Path(__file__).parents[2] / "edge" / "demo_bundle" / "model.onnx"

WAVELENGTHS_PX, DIRECTIONS, KERNEL_PX = (3, 5, 8, 13), 6, 15


class GaborTrunk(Trunk):
    """Energies of Gabor filters: no weights."""

    def __init__(self) -> None:
        super().__init__()
        self._kernels = torch.from_numpy(gabor_kernels())
        self.channels = len(self._kernels) // 2

    def _run(self, contrast_nchw: Any) -> Any:
        torch.set_num_threads(1)
        responses = F.conv2d(
            torch.from_numpy(contrast_nchw), self._kernels, stride=2, padding=KERNEL_PX // 2
        )
        even, odd = responses.chunk(2, dim=1)
        energy = (even.square() + odd.square()).sqrt()
        return [F.avg_pool2d(energy, 3, 2, 1).numpy()]


class DetectorTrunk(Trunk):
    """The first two layers of the shipped detector, which runs anyway."""

    def __init__(self) -> None:
        super().__init__()
        self._layers: Any = ort.InferenceSession(first_layers(), session_options(1))
        self.channels = sum(int(one.shape[1]) for one in self._layers.get_outputs())

    def _run(self, contrast_nchw: Any) -> Any:
        grey = np.clip(0.5 + 0.16 * contrast_nchw, 0, 1).astype(np.float32)
        stem, second = self._layers.run(None, {"images": grey})
        return [
            F.avg_pool2d(torch.from_numpy(stem), 3, 2, 1).numpy(),
            F.avg_pool2d(torch.from_numpy(second), 3, 1, 1).numpy(),
        ]


def gabor_kernels() -> Any:
    """Return (2 N, 1, K, K): N even ones, N odd ones."""
    reach = KERNEL_PX // 2
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1].astype(np.float32)
    kernels: list[list[Any]] = [[], []]
    for wavelength in WAVELENGTHS_PX:
        window = np.exp(-(x * x + y * y) / (2 * (0.5 * wavelength) ** 2))
        for number in range(DIRECTIONS):
            angle = np.pi * number / DIRECTIONS
            phase = 2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / wavelength
            for part, wave in zip(kernels, (np.cos(phase), np.sin(phase)), strict=True):
                kernel = window * (wave - (window * wave).sum() / window.sum())
                part.append(kernel / np.abs(kernel).sum())
    return np.array(kernels[0] + kernels[1], np.float32)[:, None]


def first_layers() -> bytes:
    """Cut the first two convolutions with their activations out of the detector, for images of any size."""
    whole = onnx.load(DEMO_MODEL)
    ends = [node.output[0] for node in whole.graph.node if node.op_type == "Mul"][:2]
    part = onnx.utils.Extractor(whole).extract_model(["images"], ends)
    for port in (*part.graph.input, *part.graph.output):
        for number in (0, 2, 3):
            port.type.tensor_type.shape.dim[number].dim_param = f"{port.name}_{number}"
    del part.graph.value_info[:]
    return bytes(part.SerializeToString())


@contextmanager
def changed(
    *constants: tuple[Any, str, Any], trunk: Callable[[], Trunk] = Trunk, without: tuple[str, ...] = ()
) -> Iterator[Trunk]:
    """Change constants, features or channels of the reference model for a while."""
    with ExitStack() as stack:
        for module, name, value in constants:
            stack.enter_context(mock.patch.object(module, name, value))
        kept = {name: one for name, one in CHANNELS.items() if name not in without}
        lines = tuple(name for name in maps.LINES if name in kept)
        stack.enter_context(mock.patch.object(model, "LINES", lines))
        stack.enter_context(mock.patch.object(taught, "VECTORS", ("cells", *lines)))
        stack.enter_context(mock.patch.dict(CHANNELS, kept, clear=True))
        yield trunk()


VARIANTS: Mapping[str, Callable[[], Any]] = {
    "Gabor energies in place of the trunk": partial(changed, trunk=GaborTrunk),
    "layers 0 and 1 of the detector in place of the trunk": partial(changed, trunk=DetectorTrunk),
    "taught bank alone": partial(changed, (follow, "ROLL_WEIGHT", 1.0), (follow, "LEARNT_RATIO", 0.0)),
    "image itself alone": partial(changed, (follow, "ROLL_WEIGHT", 0.0)),
    "contrast of the whole image": partial(changed, (contrast, "WINDOW_PX", 4096)),
    "contrast over 100 px": partial(changed, (contrast, "WINDOW_PX", 100)),
    "no channels for lines": partial(changed, without=("warp_line", "slant", "end", "pick")),
    "no mean features of lines": partial(changed, without=("end", "pick")),
    "no slanted lines": partial(changed, without=("slant",)),
    "no specks": partial(changed, without=("speck",)),
    "unit of what was taught alone": partial(changed, (taught, "MOST_OFF", 1.0)),
    "not divided by column": partial(
        changed, (maps, "PROFILE_RANGE", (1.0, 1.0)), (maps, "SPREAD_RANGE", (1.0, 1.0))
    ),
}
