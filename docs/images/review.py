"""Take the image of the review page: simulated cloth, made-up opinions, a real browser.

Run `python docs/images/review.py` in the root of the repository. It needs the workbench and Chromium.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from browser import chromium, save, shown

from distill.labels.formats import yolo
from distill.labels.sets.annotations import AnnotatedImage, LabelSet, PolygonXy, Region, box_around
from edge.core.taxonomy import load_taxonomy
from edge.dataset.image import DatasetImage, draw_image, encode_png
from edge.dataset.options import DatasetOptions
from edge.simulator.ground_truth import SeenDefect

TAXONOMY = load_taxonomy()
SIZE_HW_PX = (320, 480)
ANNOTATORS = ("detector", "florence", "detector+florence")


def main() -> None:
    """Write review.png."""
    with TemporaryDirectory() as folder:
        write_data_set(Path(folder) / "mill")
        save("review.png", taken(Path(folder) / "mill"), "review.py")


def write_data_set(folder: Path) -> None:
    """Write a few images with what annotators might say of them."""
    options = DatasetOptions(
        images=6, seed=12, size_hw=SIZE_HW_PX, defect_share=1.0, defects_per_m=40, weave="plain",
        mean_grey=130, difficulties=("obvious", "clear"),
    )  # fmt: skip
    drawn_images = {f"roll 7 ({i}).png": draw_image(options, TAXONOMY, i) for i in range(options.images)}
    images = tuple(
        AnnotatedImage(name, SIZE_HW_PX, opinions(drawn), "roll 7", "val" if number == 0 else "train")
        for number, (name, drawn) in enumerate(drawn_images.items())
    )

    def write_image(image: AnnotatedImage, path: Path) -> None:
        path.write_bytes(encode_png(drawn_images[image.file_name].image))

    yolo.write(LabelSet(folder, TAXONOMY.classes, images), folder, write_image)


def opinions(drawn: DatasetImage) -> tuple[Region, ...]:
    """Make up a score and a finder for each defect; the surer half is not queued."""
    rng = np.random.default_rng(drawn.seed)
    regions = []
    for seen in drawn.defects:
        score = round(float(rng.uniform(0.35, 0.98)), 2)
        corners = outline(seen)
        x1, y1, x2, y2 = box_around(corners) if corners else seen.box_xyxy_px
        kind = TAXONOMY.kind(seen.category)
        regions.append(
            Region(
                seen.class_name,
                (x1, y1, x2, y2),
                corners,
                kind.category,
                kind.phrase,
                score,
                str(rng.choice(ANNOTATORS)),
                "queued" if score < 0.75 else "unreviewed",
                score,
            )
        )
    return tuple(regions)


def outline(seen: SeenDefect) -> PolygonXy | None:
    """Return the outline of the largest piece of a defect."""
    pieces, _ = cv2.findContours(
        np.ascontiguousarray(seen.mask), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
    )
    corners = max(pieces, key=len)[:, 0] + np.array(seen.box_xyxy_px[:2])
    return tuple((float(x), float(y)) for x, y in corners) if len(corners) > 2 else None


def taken(folder: Path) -> bytes:
    """Open the page in Chromium and return a screenshot."""
    command = [sys.executable, "-m", "distill.commands.review_cli", str(folder), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        server.stdout.readline()
        address = server.stdout.readline().split()[0]
        try:
            with chromium() as browser:
                page = browser.new_page(viewport={"width": 1120, "height": 690})
                page.goto(address)
                page.fill("#who-name", "Ana Ruiz")
                page.keyboard.press("Enter")
                page.wait_for_selector(".cloth image", state="attached")
                page.wait_for_timeout(1000)
                return shown(page, "main, main > *", 1200)
        finally:
            server.terminate()


if __name__ == "__main__":
    main()
