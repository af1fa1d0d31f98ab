"""Build TensorRT engines that travel in a bundle, at the desk, for devices with other GPUs."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path

from edge.backends.description import Precision
from edge.backends.tensorrt_build import EngineRequest, build_engine
from edge.backends.tensorrt_engines import LOWEST_FIRST, EngineFile, sm_of, write_engine
from edge.backends.tensorrt_places import ENGINES_FOLDER
from edge.core.contract import ModelContract
from edge.inference.engine_build import Target, batch_profile_for, shown_progress

logger = logging.getLogger(__name__)


def write_engines(
    staged: Path,
    models: Sequence[tuple[Precision, Path]],
    contract: ModelContract,
    targets: Sequence[Target],
) -> tuple[EngineFile, ...]:
    """Build an engine of the lowest precision of a bundle in the making for each target.

    Args:
        models: of the bundle, by precision.
        targets: of `edge.inference.engine_build.named_targets`.
    Raises:
        ModelError, BackendError: if the model cannot be parsed, or a build fails.
        OutputError: if an engine cannot be written.
        KeyboardInterrupt: if someone pressed Ctrl-C.
    """
    paths = dict(models)
    precision = next(one for one in LOWEST_FIRST if one in paths)
    batch = batch_profile_for(contract, None, False)
    return tuple(
        _built(EngineRequest(paths[precision], contract, precision, batch, (one.capability,)), one, staged)
        for one in targets
    )


def _built(request: EngineRequest, target: Target, staged: Path) -> EngineFile:
    what = f"{request.model_path.name} for {sm_of(target.capability)}"
    begin_s = time.monotonic()
    with shown_progress(what) as observe:
        built = build_engine(request, target.library, observe, None)
    (staged / ENGINES_FOLDER).mkdir(exist_ok=True)
    engine = write_engine(staged / ENGINES_FOLDER, built.engine, built.manifest)
    logger.info(
        "engine of %s: %.1f MiB, %.1f s", what, len(built.engine) / 2**20, time.monotonic() - begin_s
    )
    return engine
