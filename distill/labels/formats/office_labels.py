"""Read labels that `loomsight office collect` fetched: verdicts of all looms, with the images of each.

The document of each roll says what its record says, so it is read as one: `roll_record` has the rules.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from distill.labels.formats import roll_record
from distill.labels.sets.annotations import LabelSet
from edge.core.errors import DatasetError, RecordError
from edge.core.outside_files import LABELS_BYTES, read_bytes
from edge.roll.document import RollDocument
from edge.roll.importing import import_roll
from edge.roll.roll_map import RollMap, read_map

INDEX_NAME = "office-labels.json"
AGAIN = "Collect again: `loomsight office collect FOLDER`."

ImageName = Annotated[str, Field(pattern=r"^[0-9a-f]{2}/[0-9a-f]{64}\.png$")]


class CollectedRoll(BaseModel):
    """Say of which loom a roll is, and which image shows which of its judged defects."""

    model_config = ConfigDict(extra="ignore")

    loom: str = Field(max_length=300)
    images: dict[str, ImageName]


class OfficeIndex(BaseModel):
    """Hold what `office-labels.json` says: roll id -> what was collected of it."""

    model_config = ConfigDict(extra="ignore")

    rolls: dict[Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")], CollectedRoll]


def read(source: Path, image_folder: Path | None = None) -> LabelSet:
    """Read what was collected; each roll is a group, named by its loom and its name.

    Args:
        source: folder with the index.
        image_folder: of the images; None for `images/` beside it.
    Raises:
        DatasetError: if there is no index, it is damaged, or it names no roll.
    """
    index = _index(source / INDEX_NAME)
    root = image_folder or source.resolve().parent / "images"
    with tempfile.TemporaryDirectory(prefix="loomsight-office-") as folder:
        record = Path(folder) / "rolls.db"
        for roll_id, known in sorted(index.rolls.items()):
            try:
                found = read_map(source / "rolls" / f"{roll_id}.json")
                import_roll(record, RollMap(_with_images(found.document, known, root), found.digest))
            except RecordError as error:
                raise DatasetError(f"{source}: {error.problem}", AGAIN) from error
        if not record.exists():
            raise DatasetError(f"{source} holds no judged roll.", AGAIN)
        return roll_record.read(record, root)


def _index(path: Path) -> OfficeIndex:
    try:
        return OfficeIndex.model_validate_json(read_bytes(path, LABELS_BYTES, DatasetError, AGAIN))
    except (ValidationError, RecursionError) as error:
        raise DatasetError(f"{path} is damaged.", AGAIN) from error


def _with_images(document: RollDocument, known: CollectedRoll, root: Path) -> RollDocument:
    """Return a document whose defects name the images that were collected."""

    def own(record: Any) -> Any:
        name = known.images.get(record.event_id)
        return record.model_copy(update={"image": str(root / name) if name else None})

    defects = tuple(own(record) for record in document.technical.defects)
    header = document.header.model_copy(update={"roll": f"{known.loom} {document.header.roll}"[:200]})
    technical = document.technical.model_copy(update={"defects": defects})
    return document.model_copy(update={"header": header, "technical": technical})
