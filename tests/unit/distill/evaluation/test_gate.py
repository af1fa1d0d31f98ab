"""When a bundle is worse than the one before: by more than chance explains, and never by too few boxes."""

from __future__ import annotations

import pytest
from scipy.stats import binomtest

from distill.evaluation.gate import ArticleScore, by_chance


@pytest.mark.parametrize(("successes", "tries"), [(0, 0), (3, 5), (5, 5), (12, 20), (0, 7)])
def test_the_sign_test_is_that_of_the_textbook(successes, tries):
    expected = binomtest(successes, tries, 0.5, alternative="greater").pvalue if tries else 1.0
    assert by_chance(successes, tries) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("lost", "gained", "false_before", "false_after", "is_worse"),
    [
        (0, 0, 3, 3, False),
        (4, 0, 0, 0, False),  # one in sixteen: chance
        (5, 0, 0, 0, True),
        (6, 5, 0, 0, False),
        (0, 9, 9, 0, False),
        (0, 0, 0, 5, True),
        (0, 0, 20, 24, False),
    ],
)
def test_an_article_is_worse_by_more_than_chance(lost, gained, false_before, false_after, is_worse):
    score = ArticleScore("twill", 40, 40, 30, 30 - lost + gained, lost, gained, false_before, false_after)
    assert score.is_worse is is_worse
    assert score.text().endswith("worse" if is_worse else "not worse")


def test_too_few_boxes_are_said():
    assert ArticleScore("satin", images=9, boxes=4, found_before=3, found_after=2, lost=1).text() == (
        "satin: found 3 -> 2 of 4, false alarms 0 -> 0 on 9 images: too few boxes to tell"
    )
