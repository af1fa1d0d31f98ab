"""The forms in which labels are read and written, and how to tell which one a file is of.

No form is imported before it is used: help texts list them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, TypeVar, cast

from edge.core.errors import ConfigError, DatasetError
from edge.core.outside_files import files_below

if TYPE_CHECKING:
    from distill.labels.sets.annotations import LabelSet, WrittenLabels
    from edge.core.taxonomy import Taxonomy

_LOOKED_AT_BYTES = 1 << 16

Form = TypeVar("Form")


class FormModule(Protocol):
    """What the module of every form has; one that is read alone has no `write`."""

    def read(self, source: Path, image_folder: Path | None = None) -> LabelSet:
        """Read labels; single failures stand in its `problems`.

        Args:
            image_folder: folder of the images where the labels do not tell.
        Raises:
            DatasetError: if nothing at all can be read.
        """
        ...

    def write(self, label_set: LabelSet, target: Path) -> WrittenLabels:
        """Write labels; return what was written, and what was not."""
        ...


@dataclass(frozen=True, slots=True)
class LabelFormat:
    """Say where a form is read and written, and how to tell it.

    Attributes:
        module: that has it.
        suffix: of its file; "" for a folder.
        is_in: tells from the suffix of a file, in lower case, and its first bytes whether it is of this
            form; of two that share a suffix, exactly one.
        is_folder: tells whether a folder is of this form; the first that says so has it.
        magic: first bytes of every file of this form and of no other one; empty where there are none.
        is_written: whether it can be written, too.
    """

    module: str
    suffix: str
    is_in: Callable[[str, bytes], bool] = lambda suffix, head: False
    is_folder: Callable[[Path], bool] = lambda folder: False
    magic: bytes = b""
    is_written: bool = True

    def read(self, source: Path, image_folder: Path | None = None) -> LabelSet:
        """Read labels; see `FormModule`."""
        return self._loaded().read(source, image_folder)

    def write(self, label_set: LabelSet, target: Path) -> WrittenLabels:
        """Write labels; see `FormModule`."""
        return self._loaded().write(label_set, target)

    def _loaded(self) -> FormModule:
        return cast(FormModule, import_module(self.module))


READERS: Final[Mapping[str, LabelFormat]] = {
    "dataset": LabelFormat(
        "distill.labels.formats.yolo",
        "",
        lambda suffix, head: suffix in (".yaml", ".yml"),
        lambda folder: (folder / "data.yaml").is_file(),
    ),
    "voc": LabelFormat(
        "distill.labels.formats.voc",
        "",
        lambda suffix, head: suffix == ".xml" and b"<annotations" not in head,
        lambda folder: next(files_below(folder, "*.xml"), None) is not None,
    ),
    "coco": LabelFormat(
        "distill.labels.formats.coco",
        ".json",
        lambda suffix, head: suffix == ".json" and not head.startswith(b"["),
    ),
    "florence": LabelFormat(
        "distill.labels.formats.florence_jsonl", ".jsonl", lambda suffix, head: suffix == ".jsonl"
    ),
    "cvat": LabelFormat(
        "distill.labels.formats.cvat",
        ".xml",
        lambda suffix, head: suffix == ".xml" and b"<annotations" in head,
    ),
    "label-studio": LabelFormat(
        "distill.labels.formats.label_studio",
        ".json",
        lambda suffix, head: suffix == ".json" and head.startswith(b"["),
    ),
    "office": LabelFormat(
        "distill.labels.formats.office_labels",
        "",
        is_folder=lambda folder: (folder / "office-labels.json").is_file(),
        is_written=False,
    ),
    "roll": LabelFormat(
        "distill.labels.formats.roll_record",
        ".db",
        magic=b"SQLite format 3\0",
        is_written=False,
    ),
}
"""All forms that are read, by the name that `--from` and `--to` take."""

FORMATS: Final[Mapping[str, LabelFormat]] = {
    name: form for name, form in READERS.items() if form.is_written
}
"""Those that are written, too."""


def read_labels(
    source: Path, taxonomy: Taxonomy, *, format_name: str | None = None, image_folder: Path | None = None
) -> LabelSet:
    """Read labels of any form and bring their names to a taxonomy.

    An image of which something could not be read is in `left_out` and not in `images`.

    Args:
        source: file or folder.
        taxonomy: the classes of the set.
        format_name: a key of `READERS`; None to look what it is.
        image_folder: folder of the images; None to look in and beside the source.
    Raises:
        DatasetError: if there is nothing there, it is of no known form, or nothing can be read.
        ConfigError: if there is no such form, or `image_folder` is no folder.
    """
    if image_folder and not image_folder.is_dir():
        raise ConfigError(f"There is no folder {image_folder}.", "Correct --pictures.")
    from distill.labels.formats.completeness import only_complete
    from distill.labels.sets.naming import named_by

    name = format_name or detect(source)
    return only_complete(named_by(_found(READERS, name).read(source, image_folder), taxonomy))


def format_of(name: str) -> LabelFormat:
    """Return a form by its name.

    Raises:
        ConfigError: if there is none of that name.
    """
    return _found(FORMATS, name)


def _found(forms: Mapping[str, Form], name: str) -> Form:
    if name not in forms:
        raise ConfigError(f"There is no form of labels '{name}'.", f"Use one of: {', '.join(forms)}.")
    return forms[name]


def detect(source: Path) -> str:
    """Return the name of the form that a file or folder is of.

    Raises:
        DatasetError: if it is missing or of no known form.
    """
    if not source.exists():
        raise DatasetError(f"There is no {source}.", "Check the path.")
    name = _form_of_folder(source) if source.is_dir() else _form_of_file(source)
    if name is None:
        raise DatasetError(f"{source} holds no labels of a known form.", f"Known: {', '.join(READERS)}.")
    return name


def _form_of_folder(folder: Path) -> str | None:
    return next((name for name, form in READERS.items() if form.is_folder(folder)), None)


def _form_of_file(file: Path) -> str | None:
    """Tell by what the file begins with, and by its suffix."""
    from edge.core.outside_files import LABELS_BYTES, open_outside

    with open_outside(file, LABELS_BYTES, DatasetError) as stream:
        start = stream.read(_LOOKED_AT_BYTES)
    for name, form in READERS.items():
        if form.magic and start.startswith(form.magic):
            return name
    # Without the zeros UTF-16 reads like ASCII, which is enough to tell the forms apart.
    head = start.replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n")
    suffix = file.suffix.lower()
    return next((name for name, form in READERS.items() if form.is_in(suffix, head)), None)
