"""The words and the axes of the epochs of a training."""

from __future__ import annotations

import pytest

from distill.core.figures import count_epochs, new_figure
from distill.labels.florence import curves as florence_curves
from distill.training import curves as training_curves
from distill.training.curves import curves_section, since_first_epoch
from distill.training.feature_pretraining import draw_curve
from distill.training.scales import BINS, draw_scales


def history(*map50s, first=0):
    return [
        {"epoch": first + number, "seconds": 1.0, "loss": 2.0, "val_loss": 2.0, "held_out_loss": 1.0,
         "map50": value, "map50_95": value / 2, "scale_counts": [1] * BINS, "scale_quantiles": [0.1] * 3}
        for number, value in enumerate(map50s)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("map50s", "said"),
    [
        pytest.param((), "no epoch was trained", id="none"),
        pytest.param(
            (0.25,),
            "mAP50 0.250, mAP50-95 0.125 on the validation tiles after one epoch: there is nothing to "
            "compare with",
            id="one",
        ),
        pytest.param(
            (0.5, 0.25),
            "mAP50 0.500, mAP50-95 0.250 on the validation tiles after epoch 1: the best of 2 epochs, none "
            "got better",
            id="the-first-is-the-best",
        ),
        pytest.param(
            (0.25, 0.5, 0.375),
            "mAP50 0.250 -> 0.500, mAP50-95 0.125 -> 0.250 on the same validation tiles, after epoch 1 -> "
            "after the best of 3 epochs, epoch 2",
            id="several",
        ),
    ],
)
def test_what_is_compared_is_said(map50s, said):
    assert since_first_epoch(history(*map50s)) == said


def test_one_epoch_is_not_the_best_of_any():
    assert "best" not in curves_section(history(0.25))
    assert "The best is epoch 2: mAP50 0.500" in curves_section(history(0.25, 0.5))


def ticks(axes):
    """The ticks of the axis of epochs that can be seen."""
    left, right = axes.get_xlim()
    return [float(tick) for tick in axes.get_xticks() if left <= tick <= right]


def drawn_with_florence(rows, monkeypatch, tmp_path):
    kept = []
    monkeypatch.setattr(florence_curves, "write_figure", lambda figure, file: kept.append(figure))
    florence_curves.draw_curves(rows, tmp_path / "curves.png")
    return kept[0]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 12, 300])
@pytest.mark.parametrize("kind", ["run page", "teacher", "scales", "features"])
def test_every_axis_of_epochs_has_whole_numbers_alone(kind, count, monkeypatch, tmp_path):
    rows = history(*[0.5] * count)
    if kind == "run page":
        figure = training_curves._drawn(rows, {"loss": "loss"}, "loss")
    elif kind == "teacher":
        figure = drawn_with_florence(rows, monkeypatch, tmp_path)
    else:
        figure = draw_scales(rows) if kind == "scales" else draw_curve(rows)
    axes = [one for one in figure.axes if one.get_xlabel() == "epoch"]
    assert axes
    for one in axes:
        shown = ticks(one)
        assert shown, "no tick at all"
        assert all(tick == round(tick) for tick in shown), shown
        if count == 1:
            assert shown == [1.0]


def test_a_single_late_epoch_stands_in_the_middle():
    axes = new_figure((4, 3)).subplots()
    axes.plot([7], [0.5], ".")
    count_epochs(axes)
    assert (axes.get_xlim(), ticks(axes)) == ((6.5, 7.5), [7.0])
