from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from distill.labels.checks.reports import report_of_stats, table
from distill.labels.checks.stats import stats_of
from distill.labels.sets.annotations import LabelSet
from tests.unit.distill.labels.label_sets import CLASSES, label_set, region, rich_set


def test_counts():
    stats = stats_of(rich_set(Path()))
    assert stats.images == {"train": 2, "test": 1, "val": 1}
    assert stats.clean_images == {"train": 1, "test": 1, "val": 0}
    assert stats.boxes["drop"] == {"train": 1, "test": 0, "val": 0}
    assert stats.categories["broken"] == {"broken end": 1}
    assert stats.categories["drop"] == {"": 1}
    assert stats.reviews == {"unreviewed": 1, "rejected": 1, "corrected": 1, "accepted": 1}
    assert stats.annotators == {"florence-2": 1, "": 1, "张三": 1}
    assert stats.scores == (0, 0, 0, 1, 0, 0, 0, 0, 1, 0)
    assert stats.groups["roll 000"] == 1
    assert stats.sizes["broken"].height_px == (50, 50, 50)


def test_a_queued_box_counts_neither_as_a_box_nor_as_clean():
    waiting = label_set(Path(), {"0001.bmp": (region(review="queued"),)})
    stats = stats_of(waiting)
    assert stats.reviews == {"queued": 1}
    assert stats.boxes["drop"] == {"train": 0, "test": 0, "val": 0}
    assert stats.clean_images["train"] == 1
    assert stats.images["train"] == 2


def test_millimetres_where_the_scale_is_known():
    stats = stats_of(rich_set(Path()))
    assert "mm" not in report_of_stats(stats)
    text = report_of_stats(replace(stats, mm_per_px=0.2))
    assert "height p95 mm" in text
    assert "10.0" in text


def test_an_empty_set():
    stats = stats_of(LabelSet(Path(), CLASSES, ()))
    assert "boxes of drop" in report_of_stats(stats)


def test_columns_are_aligned():
    assert (
        table(("name", "n"), [("a", 1), ("long name", 22)]) == "name        n\na           1\nlong name  22"
    )
