"""Silence what transformers and peft say of themselves where nobody can act on it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from transformers.utils import logging as transformers_logging

logging: Any = transformers_logging  # its functions are not annotated


@contextmanager
def without_remarks() -> Iterator[None]:
    """Enter a block without progress bars, remarks below errors, and notices of renamed attributes."""
    level, had_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            # peft asks transformers for an attribute under its older name.
            warnings.filterwarnings("ignore", message=".*gradient_checkpointing", category=FutureWarning)
            yield
    finally:
        logging.set_verbosity(level)
        if had_bars:
            logging.enable_progress_bar()
