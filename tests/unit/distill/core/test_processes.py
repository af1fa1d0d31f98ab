from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from distill.checkpoint import load_detector, read_checkpoint
from distill.core.processes import Processes, joined
from distill.evaluation.scorecard import read_rows
from edge.core.errors import ConfigError
from tests.unit.distill.tiny import write_tiny_dataset

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
PROJECT = Path(__file__).parents[4]

AVERAGING = """
import torch
from torch import nn
from distill.core.processes import joined

with joined("cpu") as processes:
    torch.manual_seed(processes.number)
    module = nn.ModuleDict({"used": nn.Linear(3, 1), "unused": nn.Linear(1, 1)})
    processes.copy_from_first(module)
    torch.manual_seed(9)
    inputs, wanted = torch.randn(6, 3), torch.randn(6, 1)
    mine = processes.fraction_of(range(6))
    (module["used"](inputs[mine]) - wanted[mine]).square().mean().backward()
    processes.average_gradients((module,))
    found = [p.grad.clone() for p in module["used"].parameters()]
    module.zero_grad()
    (module["used"](inputs) - wanted).square().mean().backward()
    for ours, whole in zip(found, module["used"].parameters(), strict=True):
        assert torch.allclose(ours, whole.grad, atol=1e-6), (ours, whole.grad)
    number = float(processes.number)
    assert processes.average({"a": number, "b": 4.0}) == {"a": 0.5, "b": 4.0}
    assert processes.greatest({"a": number}) == {"a": 1.0}
    assert processes.from_first({"whose": processes.number}) == {"whose": 0}
    order = []
    result = processes.first_before_others(lambda: order.append(1) or processes.number)
    assert result == processes.number
"""


def torchrun(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(PROJECT)}
    command = [*TORCHRUN, *arguments]
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def test_two_processes_agree(tmp_path):
    (tmp_path / "averaging.py").write_text(AVERAGING)
    done = torchrun("averaging.py", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_two_processes_train_one_detector(tmp_path):
    write_tiny_dataset(tmp_path / "data")
    lines = ('scale = "p"', "input_size_hw_px = [64, 64]", "overlap_px = 8", "epochs = 2", "batch = 8")
    (tmp_path / "tiny.toml").write_text("\n".join(lines))
    done = torchrun(
        "-m",
        "distill.commands.distill_cli",
        "data",
        "--recipe",
        "tiny.toml",
        "--out",
        "run",
        "--device",
        "cpu",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("checkpoint ") == 1, "the first alone speaks"
    assert done.stderr.count("epoch 2/2") == 1
    rows = [json.loads(line) for line in (tmp_path / "run" / "history.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [0, 1]
    assert len(read_rows(tmp_path / "run" / "scorecard.jsonl")) == 1
    load_detector(tmp_path / "run" / "best.pt")
    training = read_checkpoint(tmp_path / "run" / "last.pt").training
    assert training is not None
    assert training["step"] == rows[-1]["steps"] == 2 * -(-rows[0]["tiles"] // 8)


def test_alone_nothing_is_exchanged():
    processes = Processes()
    layer = nn.Linear(2, 1)
    layer(torch.ones(1, 2)).sum().backward()
    processes.average_gradients((layer,))
    assert torch.equal(layer.weight.grad, torch.ones(1, 2))
    assert processes.average({"a": 3.0}) == processes.greatest({"a": 3.0}) == {"a": 3.0}
    assert processes.fraction_of([4, 2, 7]) == [4, 2, 7]


def test_without_torchrun_a_process_is_alone():
    with joined("cpu", {}) as processes:
        assert (processes.number, processes.count) == (0, 1)


def test_a_batch_that_cannot_be_split_is_refused():
    with pytest.raises(ConfigError, match="multiple of 3"):
        Processes(0, 3).part_of(16)


@given(length=st.integers(0, 50), count=st.integers(1, 8), per_process=st.integers(1, 8))
def test_shares_cover_the_order_in_equal_parts(length, count, per_process):
    fractions = [Processes(number, count).fraction_of(range(length)) for number in range(count)]
    assert len({len(fraction) for fraction in fractions}) == 1
    assert set().union(*fractions) == set(range(length))
    assert sum(map(len, fractions)) - length < count
    steps = -(-len(fractions[0]) // per_process)
    assert steps == -(-length // (count * per_process)), "as many steps as one process with whole batches"
