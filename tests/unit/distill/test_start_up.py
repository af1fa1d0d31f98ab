"""A command of the workbench starts without what only some of its work needs."""

from __future__ import annotations

import json
import subprocess
import sys

SLOW_TO_LOAD = ["matplotlib", "torchvision", "torch._dynamo", "transformers", "ray", "pandas", "scipy"]
"""Together they take longer than everything else: seconds before the first line of each command."""

STARTED = """
import json, sys
import distill.training.stages, distill.prune.steps, distill.operating_point.folds
print(json.dumps([name for name in {slow!r} if name in sys.modules]))
"""


def test_training_and_pruning_load_no_diagrams_and_no_compiler_before_they_need_them():
    done = subprocess.run(
        [sys.executable, "-c", STARTED.format(slow=SLOW_TO_LOAD)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout) == []
