"""Wrap everything that is used of ultralytics. Nothing else in the project imports it.

It changes every week and it is AGPL: a change on its side is mended here, and only here.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

import torch  # noqa: F401  before ultralytics, which otherwise limits it to one thread

# Ultralytics reads its environment while it is imported, so these stand above the import. It would write
# a settings file into the user's home, ask the network whether it is there, and install packages.
_THREADS_BEFORE = os.environ.get("OMP_NUM_THREADS")
if "YOLO_CONFIG_DIR" not in os.environ:
    os.environ["YOLO_CONFIG_DIR"] = tempfile.mkdtemp(prefix="loomsight-ultralytics-")
    atexit.register(shutil.rmtree, os.environ["YOLO_CONFIG_DIR"], ignore_errors=True)
for _name, _value in (("YOLO_OFFLINE", "true"), ("YOLO_AUTOINSTALL", "false"), ("YOLO_VERBOSE", "false")):
    os.environ.setdefault(_name, _value)

from ultralytics.nn.modules.block import C3, SPPF, Bottleneck  # noqa: E402
from ultralytics.nn.modules.conv import Concat, Conv  # noqa: E402
from ultralytics.nn.modules.head import Detect  # noqa: E402
from ultralytics.nn.tasks import DetectionModel  # noqa: E402
from ultralytics.utils.loss import v8DetectionLoss as DetectionLoss  # noqa: E402
from ultralytics.utils.metrics import ap_per_class, bbox_iou  # noqa: E402
from ultralytics.utils.tal import TaskAlignedAssigner  # noqa: E402
from ultralytics.utils.torch_utils import ModelEMA, initialize_weights  # noqa: E402

if _THREADS_BEFORE is None:
    os.environ.pop("OMP_NUM_THREADS", None)

__all__ = [
    "C3", "SPPF", "Bottleneck", "Concat", "Conv", "Detect", "DetectionLoss", "DetectionModel", "ModelEMA",
    "TaskAlignedAssigner", "ap_per_class", "bbox_iou", "initialize_weights",
]  # fmt: skip
