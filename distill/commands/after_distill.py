"""Choose the command that comes after a training."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from distill.commands.given_options import GivenOptions, all_words
from distill.core.next_command import export_command, longer_command, taxonomy_words
from distill.core.run_folder import RunFolder
from distill.settings.recipe import Recipe
from distill.training.comparison import LEAST_MAP50
from distill.training.finish import read_summary


def command_after(
    folder: RunFolder, recipe: Recipe, given: GivenOptions, dataset: Path, taxonomy: Path | None
) -> str:
    """Return the command that makes a bundle, or trains longer where next to nothing is found.

    Args:
        folder: of the run that has ended.
        recipe: of it.
        given: options of this command line; those that the run was started with are read from its folder.
        dataset: folder of the data set.
        taxonomy: file that names its classes; None for the shipped one.
    """
    summary = read_summary(folder)
    if summary.recall is None:  # no defect to be measured by
        return shlex.join(("loomsight", "labels", "check", str(dataset), *taxonomy_words(taxonomy)))
    if summary.map50 >= LEAST_MAP50:
        return export_command(folder.best, dataset, folder.path / "bundle", taxonomy=taxonomy)
    makes_own_start = recipe.pretraining is not None or recipe.feature_pretraining is not None
    longer = folder.path.with_name(f"{folder.path.name}-longer")
    return longer_command(
        dataset,
        all_words({**_kept_options(folder), **given}),
        None if makes_own_start else folder.best,
        2 * recipe.epochs,
        longer,
    )


def _kept_options(folder: RunFolder) -> GivenOptions:
    """Return the options that a run was started with; a resumed one need not repeat them."""
    if not folder.options.is_file():  # of a version that did not write it
        return {}
    kept: GivenOptions = json.loads(folder.options.read_bytes())
    return kept
