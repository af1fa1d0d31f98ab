"""The `distill` command: train a detector on a data set."""

from __future__ import annotations

import os
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from edge.console import configure_logging, run_command
from edge.errors import INTERRUPTED_EXIT_CODE, ConfigError
from edge.taxonomy import load_taxonomy

if TYPE_CHECKING:
    from distill.finish import Summary
    from distill.recipe import Recipe
    from distill.run_folder import RunFolder

DEFAULT_RECIPE = "smoke"


class DeviceChoice(str, Enum):
    """Where to train."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command()
def distill(
    dataset: Annotated[
        Path, typer.Argument(metavar="DATASET", help="Folder with data.yaml, images/ and labels/.")
    ],
    recipe: Annotated[
        str | None,
        typer.Option(help=f"smoke, cpu, production or a TOML file.  [default: {DEFAULT_RECIPE}]"),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run.  [default: runs/RECIPE]")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    start_from: Annotated[
        Path | None, typer.Option(help="Checkpoint whose weights to start from  [default: random]")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Overrides the recipe.")] = None,
    seed: Annotated[int | None, typer.Option(help="Overrides the recipe.")] = None,
    device: Annotated[DeviceChoice, typer.Option(help="Where to train.")] = DeviceChoice.auto,
    taxonomy: Annotated[
        Path | None, typer.Option(help="Taxonomy file of the mill.  [default: the shipped one]")
    ] = None,
) -> None:
    """Train a detector on a data set and score it.

    The run folder then holds best.pt, last.pt, history.jsonl, metrics.json and scorecard.jsonl. Ctrl-C
    saves last.pt; the same command with --resume goes on from there.
    """
    configure_logging()
    if resume and start_from:
        raise ConfigError(
            "--resume and --start-from exclude each other: a resumed run has its weights already.",
            "Leave --start-from out to go on, or --resume with another --out to start anew.",
        )
    # Imports stand here because torch takes seconds: --help and most mistakes are answered without it.
    from distill.dataset import load_dataset
    from distill.run_folder import RunFolder

    folder = RunFolder(out or Path("runs") / Path(recipe or DEFAULT_RECIPE).stem)
    settings = _recipe_of_run(folder, recipe, {"epochs": epochs, "seed": seed}, resume)
    classes = load_taxonomy(taxonomy)
    data = load_dataset(dataset, classes.classes)

    from distill.finish import finish
    from distill.precision import choose_device
    from distill.progress import ConsoleListener
    from distill.train import contract_for, train

    contract = contract_for(settings, classes, data.mm_per_px)
    chosen_device = choose_device(device.value)
    if not resume:
        folder.open_new()
        folder.write_json(folder.recipe, settings.model_dump(mode="json"))
    with ConsoleListener(settings.epochs) as listener:
        is_done = train(
            data,
            contract,
            settings,
            folder,
            device=chosen_device,
            listener=listener,
            turned_ids=classes.quarter_turned_ids(),
            resume=resume,
            start_from=start_from,
        )
    if not is_done:
        _leave_interrupted(folder)
    _print_summary(folder, finish(data, settings, folder))


def _recipe_of_run(
    folder: RunFolder, recipe: str | None, flags: dict[str, int | None], resume: bool
) -> Recipe:
    """Read the recipe; a resumed run keeps its own, and flags may repeat it but not change it.

    Raises:
        ConfigError: if a resumed run is asked to change.
        CheckpointError: if there is no run to resume.
    """
    from distill.recipe import Recipe, load_recipe

    if not resume:
        return load_recipe(recipe or DEFAULT_RECIPE, os.environ, flags)
    folder.open_existing()

    from distill.checkpoint import read_checkpoint

    kept = Recipe.model_validate(read_checkpoint(folder.last).recipe)
    asked = load_recipe(recipe, os.environ, flags) if recipe else kept.model_copy(update=_given(flags))
    for key in Recipe.model_fields:
        if getattr(asked, key) != getattr(kept, key):
            raise ConfigError(
                f"The run in {folder.path} has {key} = {getattr(kept, key)!r}, "
                f"not {getattr(asked, key)!r}.",
                "A resumed run keeps its recipe: leave --recipe, --epochs and --seed out.",
            )
    return kept


def _given(flags: dict[str, int | None]) -> dict[str, int]:
    return {key: value for key, value in flags.items() if value is not None}


def _leave_interrupted(folder: RunFolder) -> NoReturn:
    typer.echo(f"Stopped. Go on with the same command and --resume --out {folder.path}", err=True)
    raise typer.Exit(INTERRUPTED_EXIT_CODE)


def _print_summary(folder: RunFolder, summary: Summary) -> None:
    from distill.scorecard import SCORECARD_NAME

    recall = "not known" if summary.recall is None else f"{summary.recall:.3f}"
    alarms = summary.false_alarms_per_clean_m2
    typer.echo(f"checkpoint  {folder.best}")
    typer.echo(f"metrics     {folder.metrics}")
    typer.echo(f"scorecard   {folder.path / SCORECARD_NAME}")
    typer.echo(
        f"mAP50 {summary.map50:.3f}  mAP50-95 {summary.map50_95:.3f}  recall {recall}  "
        f"false alarms per clean m2 {'not known' if alarms is None else f'{alarms:.2f}'}"
    )


def main() -> NoReturn:
    """Run the command and leave with its exit code."""
    run_command(app)


if __name__ == "__main__":
    main()
