"""Define the settings by which images get their group and their split, and apply them."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from distill.core.value import Value
from distill.labels.sets import groups
from distill.labels.sets.annotations import LabelSet
from distill.labels.sets.split import shares_from_text, split
from edge.core.errors import ConfigError


class SharingOptions(Value):
    """Say how images are split.

    Attributes:
        group: regular expression on the file name, with a part named ``group``.
        group_table: CSV table with the columns ``file_name`` and `group_column`.
        group_column: the column with the roll or strip.
        split: fractions of the splits.
        seed: of the sharing out.
    """

    group: str | None = None
    group_table: Path | None = None
    group_column: str = "group"
    split: str = "train=0.8,val=0.1,test=0.1"
    seed: int = Field(0, ge=0)


def split_by_options(label_set: LabelSet, options: SharingOptions, *, again: bool) -> LabelSet:
    """Give images their group, where the options say how, and their split.

    Args:
        label_set: what to split.
        options: how.
        again: split all images; else only if one has no split yet.
    Raises:
        ConfigError: if a setting is not valid.
        DatasetError: if an image has no group, or there are fewer groups than splits.
    """
    label_set = with_groups(label_set, options)
    if not again and all(image.split for image in label_set.images):
        return label_set
    return split(label_set, shares_from_text(options.split), options.seed)


def with_groups(label_set: LabelSet, options: SharingOptions) -> LabelSet:
    """Give images their group, where the options say how.

    Raises:
        ConfigError: if two ways are named, or one is not valid.
        DatasetError: if an image has no group.
    """
    if options.group and options.group_table:
        raise ConfigError("--group and --group-table both name the groups.", "Give one of them.")
    if options.group:
        return groups.grouped(label_set, groups.by_name(options.group))
    if options.group_table:
        return groups.grouped(label_set, groups.by_table(options.group_table, options.group_column))
    return label_set
