"""Show on a page what a detector reports on labelled images, and what it misses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

from distill.core import run_page
from distill.data.tiles import TilePlan
from distill.evaluation.confusion import NOTHING
from distill.evaluation.cut_outs import cut_out, window_around
from distill.evaluation.hits import HIT_RULE
from distill.evaluation.mistakes import Mistake, box_of, false_positives, missed_defects
from distill.evaluation.precision_recall import draw_precision_recall, precision_recall
from distill.evaluation.working_point import (
    InspectedImage,
    WorkingPoint,
    inspected_images,
    working_point,
)
from edge.backends.protocol import Backend
from edge.core.contract import ModelContract
from edge.core.counted import counted, of_all
from edge.core.palette import class_colour

SHOWN_MISTAKES, SHOWN_IMAGES = 12, 8


def inspected(
    backend: Backend, plan: TilePlan, contract: ModelContract, mm_per_px: float | None
) -> tuple[WorkingPoint, Callable[[], list[str]]]:
    """Inspect the images of a split; return what is counted, and what draws the sections of a page."""
    images = inspected_images(backend, plan, contract, mm_per_px)
    point = working_point(images, plan, contract, mm_per_px)
    return point, partial(report_sections, images, point, plan, contract)


def report_sections(
    images: Sequence[InspectedImage], point: WorkingPoint, plan: TilePlan, contract: ModelContract
) -> list[str]:
    """Return the sections of a page: confusion, precision over recall, images and mistakes.

    Args:
        point: of the same images.
    """
    names, thresholds = contract.class_names, contract.score_thresholds
    weak = [(one.weak, one.ground_truth) for one in images]
    curves = precision_recall(weak, names)
    legend = run_page.legend((name, class_colour(name)) for name in names)

    def pairs(mistakes: Sequence[Mistake]) -> str:
        return run_page.side_by_side(_pair(images[one.number], one, plan, names) for one in mistakes)

    none = "No image of the validation split shows a defect."
    has_defects = any(len(one.ground_truth) for one in images)
    has_reports = any(len(one.reported) for one in images)
    listed: list[tuple[str, Sequence[Mistake], int, str]] = [
        ("Ground truth and reports", _overview(images, names), SHOWN_IMAGES,
         none),
        ("Worst misses", missed_defects(images, names, thresholds), SHOWN_MISTAKES,
         "None: every defect of the validation split is found." if has_defects else none),
        ("Surest false positives", false_positives(images, names), SHOWN_MISTAKES,
         "None: every report points at a defect." if has_reports else "None: nothing was reported."),
    ]  # fmt: skip
    return [
        run_page.section("Found and missed", *_confusion(point, len(images), thresholds)),
        run_page.section(
            "Precision over recall",
            run_page.text(
                "As the score threshold falls; a dot marks the threshold that ships. In brackets: defects. "
                "A defect counts here if a report of its own class points at it."
            ),
            run_page.side_by_side(
                [
                    run_page.diagram(
                        draw_precision_recall(curves, thresholds),
                        f"precision over recall of {', '.join(curves) or 'no class'}",
                    )
                ]
            ),
        ),
        *(_gallery(title, mistakes, most, none, legend, pairs) for title, mistakes, most, none in listed),
    ]


def _confusion(point: WorkingPoint, images: int, thresholds: dict[str, float]) -> list[str]:
    names = point.class_names
    rows = [
        [name, *map(str, point.confusion[number].tolist())] for number, name in enumerate([*names, NOTHING])
    ]
    rows[-1][-1] = ""
    defects = sum(total for total, _ in point.by_class.values())
    found = sum(hit for _, hit in point.by_class.values())
    alarms = point.false_alarms
    return [
        run_page.text(
            f"{of_all(found, defects, 'defect')} found ({point.named} under the right class), "
            f"{counted(alarms, 'false positive')}, on {counted(images, 'image')} of the validation split."
        ),
        run_page.table(
            ("class", "defects", "found", "threshold"),
            [
                [name, str(total), str(hit), f"{thresholds[name]:.3f}"]
                for name, (total, hit) in point.by_class.items()
            ],
        ),
        run_page.table(
            ("true \\ reported", *names, NOTHING),
            rows,
            f"Each defect stands once in the row of its class; row “{NOTHING}”: false positives.",
        ),
        run_page.text(f"A report points at a defect by an {HIT_RULE}. metrics.json has the same numbers."),
    ]


def _gallery(
    title: str,
    mistakes: Sequence[Mistake],
    most: int,
    none: str,
    legend: str,
    pairs: Callable[[Sequence[Mistake]], str],
) -> str:
    if not mistakes:
        return run_page.section(title, run_page.text(none))
    shown = mistakes[:most]
    amount = f"{len(shown)} of {len(mistakes)}, at true size: each pixel is one of the screen."
    return run_page.section(title, run_page.text(amount), legend, pairs(shown))


def _overview(inspected: Sequence[InspectedImage], names: Sequence[str]) -> list[Mistake]:
    """Return the first defect of each image that shows one, in the order of the images."""
    overview = []
    for number, one in enumerate(inspected):
        if len(one.ground_truth):
            labelled = _counts(one.ground_truth.class_ids.tolist(), names)
            reported = _counts(one.reported.class_ids.tolist(), names)
            caption = f"labelled {labelled}; reported {reported}"
            overview.append(Mistake(number, box_of(one.ground_truth.boxes_xyxy_px, 0), caption, 0.0))
    return overview


def _counts(class_ids: Sequence[int], names: Sequence[str]) -> str:
    counts = Counter(names[class_id] for class_id in class_ids)
    return ", ".join(f"{counts[name]} {name}" for name in names if counts[name]) or "nothing"


def _pair(one: InspectedImage, mistake: Mistake, plan: TilePlan, names: Sequence[str]) -> str:
    image = plan.image(one.index)
    window = window_around(mistake.box_xyxy_px, plan.frame_hw_px[one.index])
    return run_page.image_pair(
        ("ground truth", cut_out(image, window, one.ground_truth, names)),
        ("reported", cut_out(image, window, one.reported, names)),
        f"{plan.images[one.index].path.name}: {mistake.caption}",
    )
