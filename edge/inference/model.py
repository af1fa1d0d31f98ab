"""Open the model of a run: bundle, backend, golden images."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

from edge.backends.choose import (
    fastest_backend,
    in_precision,
    open_backend,
    precision_for,
)
from edge.backends.description import BackendOptions
from edge.backends.onnxruntime import read_contract
from edge.backends.protocol import Backend, OpenBackend
from edge.bundle.opening import Bundle, demo_bundle_path, open_bundle
from edge.bundle.signing import check_trusted
from edge.bundle.store import bundle_path
from edge.config.edge import EdgeConfig
from edge.core.contract import ModelContract
from edge.inference.golden import check_golden
from edge.process.heap import keep_freed_memory

logger = logging.getLogger(__name__)


class Models:
    """Open the models of the cameras of one process: each bundle is read and checked once.

    Each camera gets a backend of its own. What finds the same on the golden images as it should is not
    asked again for another camera that runs it in the same way. From here on the process keeps the memory
    that it frees.
    """

    def __init__(self) -> None:
        keep_freed_memory()
        self._bundles: dict[Path, Bundle] = {}
        self._checked: set[tuple[Path, BackendOptions, str]] = set()

    def bundle(self, config: EdgeConfig) -> Bundle:
        """Return the bundle that the settings name.

        Raises:
            ModelError, ContractError, SignatureError: see `trusted_bundle`.
        """
        path = bundle_path(config.model or demo_bundle_path())
        if path not in self._bundles:
            self._bundles[path] = trusted_bundle(path, config)
        return self._bundles[path]

    def open(self, config: EdgeConfig, stack: ExitStack) -> tuple[OpenBackend, ModelContract]:
        """Open a backend, say aloud what it is, and check its golden images.

        Raises:
            ModelError, ContractError, BackendError: if the model cannot be vouched for.
        """
        bundle = self.bundle(config)
        as_published = contract_of(bundle)
        contract = as_published.with_thresholds(config.score_thresholds)
        options = backend_options(config)
        if config.backend == "auto":
            check = partial(check_golden, contract=as_published)
            backend: OpenBackend = fastest_backend(bundle, as_published, options, check)
            stack.enter_context(backend)
        else:
            options = replace(options, precision=precision_for(config.backend, bundle, options.precision))
            meant = in_precision(bundle, options.precision)
            backend = stack.enter_context(open_backend(config.backend, meant, as_published, options))
            self._check(meant, backend, as_published, options)
        logger.info("model %s on %s", bundle.path, backend.description)
        return backend, contract

    def _check(
        self, bundle: Bundle, backend: Backend, contract: ModelContract, options: BackendOptions
    ) -> None:
        key = (bundle.model_path, options, str(backend.description))
        if key not in self._checked:
            check_golden(bundle, backend, contract)
            self._checked.add(key)


def trusted_bundle(path: Path, config: EdgeConfig) -> Bundle:
    """Open a bundle, and see that it is signed as the settings ask for.

    Raises:
        ModelError, ContractError: if it is missing, damaged or changed.
        SignatureError: if none of the device's keys has signed it.
    """
    bundle = open_bundle(path)
    key = check_trusted(bundle, config.trust.keys, config.trust.revoked)
    if key is not None:
        logger.info("model %s is signed by the key %s", path, key.name)
    return bundle


def open_model(config: EdgeConfig, stack: ExitStack) -> tuple[OpenBackend, ModelContract]:
    """Open the model of one camera; see `Models.open`."""
    return Models().open(config, stack)


def contract_of(bundle: Bundle) -> ModelContract:
    """Return the contract as it was published.

    Raises:
        ModelError, ContractError: if a bare ONNX file cannot be read or has none.
    """
    return bundle.manifest.contract if bundle.manifest else read_contract(bundle.model_path)


def backend_options(config: EdgeConfig) -> BackendOptions:
    """Return how the settings want the network to run."""
    precision = None if config.precision == "auto" else config.precision
    return BackendOptions(config.providers, precision, config.threads)
