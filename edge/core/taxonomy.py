"""Read the defect classes of a plant: the only place that knows their names, order and kinds.

A *class* is what a detector predicts; its id is its position in the file. A *kind* is finer and reads
``phrase | category | parent category``: the parent is the class. Classes and kinds stand in
``taxonomy.toml``; a mill extends them with a file of its own and touches no code.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from typing_extensions import Self

from edge.core.errors import ConfigError
from edge.core.outside_documents import parsed_toml, read_toml


class DefectKind(BaseModel):
    """Name one kind of defect on three levels, as captions and reports use them.

    Attributes:
        quarter_turn: category that it has to be called once its image is turned by 90 degrees, for
            instance ``broken pick`` for a broken end; None if it keeps its name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    phrase: str = Field(min_length=1)
    category: str = Field(min_length=1)
    parent: str = Field(min_length=1)
    quarter_turn: str | None = None

    def __str__(self) -> str:
        return f"{self.phrase} | {self.category} | {self.parent}"


class Taxonomy(BaseModel):
    """Hold the classes in the order of their ids, and the kinds that belong to each."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = Field(ge=1)
    classes: tuple[str, ...] = Field(min_length=1)
    kinds: tuple[DefectKind, ...] = ()

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        categories = [kind.category for kind in self.kinds]
        for names, what in ((self.classes, "class"), (categories, "category")):
            repeated = sorted({name for name in names if list(names).count(name) > 1})
            if repeated:
                raise ValueError(f"{what} named twice: {', '.join(repeated)}")
        turned = sorted({k.quarter_turn for k in self.kinds if k.quarter_turn} - set(categories))
        if turned:
            raise ValueError(f"quarter_turn that is not a category: {', '.join(turned)}")
        orphans = sorted({k.parent for k in self.kinds} - set(self.classes))
        if orphans:
            raise ValueError(f"parent that is not a class: {', '.join(orphans)}")
        return self

    def class_id(self, name: str) -> int:
        """Return the id of a class.

        Raises:
            ConfigError: if there is no such class.
        """
        if name not in self.classes:
            raise ConfigError(
                f"There is no defect class '{name}'.", f"Use one of: {', '.join(self.classes)}."
            )
        return self.classes.index(name)

    def quarter_turned_ids(self) -> tuple[int | None, ...]:
        """Return the id that each class gets when its image is turned by 90 degrees.

        None stands where that depends on the kind, which a box alone does not tell.
        """
        parent_of = {kind.category: kind.parent for kind in self.kinds}
        turned: list[int | None] = []
        for name in self.classes:
            mine = [kind for kind in self.kinds if kind.parent == name]
            parents = {parent_of[kind.quarter_turn or kind.category] for kind in mine} or {name}
            turned.append(self.class_id(parents.pop()) if len(parents) == 1 else None)
        return tuple(turned)

    def kind(self, category: str) -> DefectKind:
        """Return the kind with this category, for instance ``broken end``.

        Raises:
            ConfigError: if there is no such category.
        """
        for kind in self.kinds:
            if kind.category == category:
                return kind
        known = ", ".join(kind.category for kind in self.kinds)
        raise ConfigError(f"There is no defect category '{category}'.", f"Use one of: {known}.")

    def class_of(self, category: str) -> str:
        """Return the class that a detector reports a category as (``broken end`` -> ``broken``)."""
        return self.kind(category).parent


def load_taxonomy(path: Path | None = None) -> Taxonomy:
    """Read a taxonomy file, or the mill's own that ships with the package.

    Args:
        path: a TOML file; None for the shipped one.
    Raises:
        ConfigError: if the file is missing, is not TOML or contradicts itself.
    """
    source = str(path) if path else "the shipped taxonomy.toml"
    shipped = resources.files("edge.core").joinpath("taxonomy.toml")
    values = read_toml(path) if path else parsed_toml(shipped.read_text(encoding="utf-8"), source)
    try:
        return Taxonomy.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise ConfigError(
            f"{source}: {where}: {first['msg']}.", "See edge/core/taxonomy.toml for the form."
        ) from error
