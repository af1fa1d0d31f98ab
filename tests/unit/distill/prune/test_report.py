from __future__ import annotations

import io

import cv2
import pytest
import torch
from rich.console import Console

from distill.prune.plan import plan_for_macs
from distill.prune.report import draw_plan, layer_rows, print_plan, write_chart
from edge.core.errors import ConfigError, OutputError
from tests.unit.distill.prune.small import SIZE_HW_PX, lively, structure_with

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def planned():
    structure = structure_with()
    module = lively(structure)
    plan = plan_for_macs(module, structure, 0.5, input_size_hw_px=SIZE_HW_PX)
    return module, plan, layer_rows(module, plan)


def test_rows_add_up(planned):
    _, plan, rows = planned
    dfl = plan.macs_before - sum(row.macs_before for row in rows)
    assert 0 <= dfl < 0.01 * plan.macs_before
    assert sum(row.macs for row in rows) + dfl == plan.macs
    assert {row.name: row.kept for row in rows if row.name in plan.kept} == {
        name: len(kept) for name, kept in plan.kept.items()
    }


def test_the_table_names_every_layer_and_the_sum(planned):
    _, plan, rows = planned
    console = Console(file=io.StringIO(), width=120)
    print_plan(plan, rows, console)
    text = console.file.getvalue()
    assert all(row.name in text for row in rows)
    assert f"({plan.macs_share:.1%})" in text


def test_the_chart_has_a_bar_for_each_layer_and_is_an_image(planned, tmp_path):
    _, plan, rows = planned
    (axes,) = draw_plan(plan, rows).axes
    before, kept = ([bar.get_width() for bar in bars] for bars in axes.containers)
    assert before == [row.before for row in rows]
    assert kept == [row.kept for row in rows]
    write_chart(plan, rows, tmp_path / "plan.png")
    assert cv2.imread(str(tmp_path / "plan.png")).shape[0] > 500


def test_a_chart_that_cannot_be_written_says_so(planned, tmp_path):
    _, plan, rows = planned
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        write_chart(plan, rows, tmp_path / "file" / "plan.png")


def test_rows_of_another_detector_are_refused(planned):
    _, plan, _ = planned
    with pytest.raises(ConfigError, match="of another detector"):
        layer_rows(lively(structure_with("yolox")), plan)
