"""What the TensorRT runner plans before it touches a GPU."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.backends.ports import Port
from edge.backends.tensorrt_buffers import best_for, plan_buffers, plan_runs
from edge.backends.tensorrt_engines import BatchProfile, EngineFile
from edge.core.errors import ContractError
from tests.unit.edge.backends.test_tensorrt_engines import manifest, profile

HERE = Path("m.engine")


def ports(boxes=(None, 64, 4), scores=(None, 64, 3), images=(None, 1, 64, 64), is_float32=True):
    shapes = {"images": images, "boxes_xyxy_px": boxes, "scores": scores}
    return {
        name: Port("float" if is_float32 else "half", is_float32, shape) for name, shape in shapes.items()
    }


def test_buffers_hold_the_largest_batch(contract):
    plan = plan_buffers(ports(), contract, profile(1, 16), HERE)
    assert plan.shapes == {
        "images": (16, 1, 64, 64),
        "boxes_xyxy_px": (16, 64, 4),
        "scores": (16, 64, 3),
    }
    assert plan.nbytes == 16 * (64 * 64 + 64 * 4 + 64 * 3) * 4


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (ports(boxes=(None, None, 4)), "not of one number"),
        (ports(boxes=(None, 64, 4), scores=(None, 63, 3)), "not of one number"),
        (ports(boxes=(64, 4), scores=(64, 3)), "not of one number"),
        (ports(scores=(None, 64, 4)), "3 classes"),
        (ports(images=(None, 3, 64, 64)), "contract says \\[1, 64, 64\\]"),
        (ports(is_float32=False), "is half; the contract wants float32"),
        ({}, "is missing"),
    ],
    ids=["unknown", "unequal", "no batch", "classes", "channels", "float16", "none"],
)
def test_an_engine_of_other_ports_is_refused(contract, found, said):
    with pytest.raises(ContractError, match=said):
        plan_buffers(found, contract, profile(), HERE)


@given(count=st.integers(0, 300), sizes=st.lists(st.integers(1, 64), min_size=2, max_size=2))
def test_runs_cover_every_image_once_in_the_fewest_runs(count, sizes):
    least, most = sorted(sizes)
    runs = plan_runs(count, BatchProfile(least=least, usual=most, most=most))
    assert [number for run in runs for number in range(run.start, run.stop)] == list(range(count))
    assert len(runs) == -(-count // most)
    assert all(least <= run.size <= most and run.stop - run.start <= run.size for run in runs)


@pytest.mark.parametrize(
    ("count", "least", "most", "sizes"),
    [
        (0, 1, 16, []),
        (9, 1, 16, [9]),
        (20, 1, 16, [10, 10]),
        (9, 16, 16, [16]),
        (17, 16, 16, [16, 16]),
        (1, 4, 8, [4]),
    ],
    ids=str,
)
def test_sizes_of_the_runs(count, least, most, sizes):
    assert [run.size for run in plan_runs(count, profile(least, most))] == sizes


@pytest.mark.parametrize(
    ("count", "best"), [(9, "9"), (16, "16"), (5, "1-16"), (18, "9"), (40, "1-16"), (48, "16"), (1, "1-16")]
)
def test_the_engine_that_wastes_least_serves_a_batch(count, best):
    engines = [
        EngineFile(HERE, manifest(batch=batch)) for batch in (profile(), profile(9, 9), profile(16, 16))
    ]
    assert str(best_for(count, engines).manifest.batch) == best
