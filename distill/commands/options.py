"""Define what several commands share: options, settings of a run that is resumed, last words."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import typer
from pydantic import BaseModel

from distill.core.stopping import stopped_words
from edge.core.errors import INTERRUPTED_EXIT_CODE, ConfigError
from edge.core.settings import environment_values, resolved, toml_values
from edge.process.terminal import echo

if TYPE_CHECKING:
    from distill.core.run_folder import RunFolder
    from distill.labels.annotators.finetuning import Finetuning

Settings = TypeVar("Settings", bound=BaseModel)


class DeviceChoice(str, Enum):
    """Name a device to compute on."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


DatasetArgument = Annotated[
    Path, typer.Argument(metavar="DATASET", help="Folder with data.yaml, images/ and labels/.")
]
TaxonomyFlag = Annotated[
    Path | None, typer.Option(help="Taxonomy file of the mill.  [default: the shipped one]")
]
ImagesOfLabelsFlag = Annotated[
    Path | None, typer.Option("--pictures", help="Folder of the images.  [default: in or beside LABELS]")
]
GroupFlag = Annotated[
    str | None, typer.Option(help="Roll or strip in the file name, e.g. '^(?P<group>[0-9]+)_'.")
]
MmPerPxFlag = Annotated[float | None, typer.Option(help="Millimetres of cloth per pixel.")]
SettingsFlag = Annotated[Path | None, typer.Option(help="TOML file of settings.")]
ResumeFlag = Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")]
TrainingDeviceFlag = Annotated[DeviceChoice, typer.Option(help="Where to train.")]
DeviceFlag = Annotated[DeviceChoice, typer.Option(help="Where to compute.")]
VerboseFlag = Annotated[bool, typer.Option("--verbose", help="Log more.")]


def new_app(**options: Any) -> typer.Typer:
    """Return a Typer application that prints plain text."""
    return typer.Typer(
        add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None, **options
    )


def layered(
    kind: type[Settings],
    file: Path | None,
    prefix: str,
    environment: Mapping[str, str],
    flags: Mapping[str, object],
    *,
    kept: Settings | None = None,
    others: Collection[str] = (),
) -> Settings:
    """Resolve settings; what stands later in field < file < environment < flag wins.

    Args:
        kind: which settings.
        file: TOML; None for none.
        prefix: of the variables in the environment, as `os.environ`.
        flags: by field name; None means the flag was not given. A table adds to that of the file.
        kept: of a run that goes on: they stand in the place of file and environment, if there is no file.
        others: settings of other commands, whose variables have the same prefix.
    Raises:
        ConfigError: if the file is missing or not TOML, or a key is unknown or its value not permitted.
    """
    if kept is not None and file is None:
        base, variables = kept.model_dump(), {}
    else:
        base, variables = toml_values(file), environment_values(environment, prefix)
    return resolved(
        kind,
        {
            str(file or "the run"): base,
            f"the environment ({prefix}*)": {k: text for k, text in variables.items() if k not in others},
            "the command line": {k: _added(base.get(k), v) for k, v in flags.items() if v is not None},
        },
    )


def settings_of_run(
    kind: type[Settings],
    run: Callable[[], type[Finetuning]],
    folder: RunFolder,
    file: Path | None,
    prefix: str,
    flags: Mapping[str, object],
    *,
    resume: bool,
    others: Collection[str] = (),
) -> Settings:
    """Read the settings; a resumed run keeps its own, and flags may repeat them but not change them.

    Args:
        run: imports the class of the fine-tuning, and with it torch.
    Raises:
        ConfigError: as `layered`, or if a resumed run is asked to change.
        CheckpointError: if there is no run to resume.
    """
    if not resume:
        return layered(kind, file, prefix, os.environ, flags, others=others)
    kept: Settings = run().settings_in(folder)
    if layered(kind, file, prefix, os.environ, flags, kept=kept, others=others) != kept:
        raise ConfigError(
            f"The run in {folder.path} was started with other settings.",
            "A resumed run keeps its own: leave --settings and the flags out.",
        )
    return kept


def say_problems(problems: Mapping[str, str]) -> None:
    """Say on stderr what could not be read, or not written."""
    for file, problem in problems.items():
        echo(f"warning: {file}: {problem}", err=True)


def leave_interrupted(out: Path) -> NoReturn:
    """Say how a run that a signal stopped goes on, and leave."""
    echo(stopped_words(out, is_kept=True), err=True)
    raise typer.Exit(INTERRUPTED_EXIT_CODE)


def _added(table: object, value: object) -> object:
    return {**table, **value} if isinstance(table, dict) and isinstance(value, dict) else value
