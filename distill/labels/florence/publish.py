"""Publish the best weights of a fine-tuning, as an adapter and as a whole model."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from distill.labels.annotators.run_state import read_state
from distill.labels.florence.adapter import merged, save_adapter
from distill.labels.florence.finetune_run import FinetuneRun, load_weights
from distill.labels.florence.loading import write_model_folder

MODEL_FOLDER, ADAPTER_FOLDER = "model", "adapter"

log = logging.getLogger(__name__)


def publish(run: FinetuneRun) -> None:
    """Write `adapter/`, if adapters were trained, and `model/`, which `load_teacher` reads.

    The adapters of the run's model are merged into its weights.
    """
    if run.folder.best.is_file():
        load_weights(run, read_state(run.folder.best)["weights"])
    model, path = run.teacher.model.eval(), run.folder.path
    if run.settings.lora:
        with _replacing(path / ADAPTER_FOLDER) as partial:
            save_adapter(model, partial, run.teacher.base_fingerprint, run.teacher.source)
    with _replacing(path / MODEL_FOLDER) as partial:
        write_model_folder(merged(model), run.teacher.processor, partial)
    log.info("the best teacher is in %s", path / MODEL_FOLDER)


@contextmanager
def _replacing(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder that takes the place of another once it is whole."""
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
