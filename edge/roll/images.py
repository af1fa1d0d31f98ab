"""Cut images of the defects of a roll out of saved frames."""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path

import cv2
import numpy as np

from edge.core.errors import ImageError
from edge.core.image_file import read_image
from edge.roll.contents import DefectRow, Roll

MOST_IMAGES = 60
"""The worst defects are shown first; a page of hundreds of images prints for minutes."""

AROUND_PX = 48
LONGEST_IMAGE_PX = 360


def images_section(roll: Roll) -> str:
    """Show the worst defects with what a person said of them; nothing where there are no images."""
    numbered = [(number, row) for number, row in enumerate(roll.defects, start=1) if row.image]
    worst = sorted(numbered, key=lambda item: (-item[1].points, -item[1].defect.score))
    figures, missing = [], 0
    for number, row in worst[:MOST_IMAGES]:
        data = cut_image(row)
        missing += data is None
        if data is not None:
            text = f"{number}: {row.called}, {row.defect.start_m:.3f} m"
            text += f", {row.judged}" if row.judged else ""
            image = base64.b64encode(data).decode()
            figures.append(
                f'<figure><img alt="{escape(text)}" src="data:image/jpeg;base64,{image}">'
                f"<figcaption>{escape(text)}</figcaption></figure>"
            )
    if not worst:
        return ""
    note = f"<p>Missing or unreadable images: {missing}.</p>" if missing else ""
    if len(worst) > MOST_IMAGES:
        note += f"<p>The worst {MOST_IMAGES} of {len(worst)}.</p>"
    return f"<h2>Images</h2>{note}<div class='images'>{''.join(figures)}</div>"


def cut_image(row: DefectRow) -> bytes | None:
    """Cut a defect and what is around it out of its image.

    Returns:
        A JPEG of at most 360 pixels a side; None if the image is gone or unreadable.
    """
    if row.image is None or row.box_xyxy_px is None:
        return None
    try:
        image = read_image(Path(row.image))
    except ImageError:
        return None
    height, width = image.shape[:2]
    x1, y1, x2, y2 = (round(side) for side in row.box_xyxy_px)
    cut = image[
        max(0, y1 - AROUND_PX) : min(height, y2 + AROUND_PX),
        max(0, x1 - AROUND_PX) : min(width, x2 + AROUND_PX),
    ]
    if not cut.size:
        return None
    scale = min(1.0, LONGEST_IMAGE_PX / max(cut.shape[:2]))
    size_wh = (max(1, round(cut.shape[1] * scale)), max(1, round(cut.shape[0] * scale)))
    ok, data = cv2.imencode(".jpg", np.asarray(cv2.resize(cut, size_wh, interpolation=cv2.INTER_AREA)))
    return data.tobytes() if ok else None
