"""A checkpoint that was never trained, and the command that prunes it, in seconds."""

from __future__ import annotations

import torch
from typer.testing import CliRunner

from distill.checkpoint import Checkpoint, load_detector, weights_digest, write_checkpoint
from distill.commands.prune_cli import app
from distill.detector.build import build_module
from distill.settings.structure import DetectorStructure
from tests.unit.distill.tiny import tiny_contract, tiny_recipe


def write_source(path, *, recipe=None, seed=0, **structure):
    """Write a checkpoint whose fresh weights report next to nothing, which makes measuring quick."""
    torch.manual_seed(seed)
    built = DetectorStructure(**{"scale": "p", "channels": 1, "classes": 3, **structure})
    weights = build_module(built).state_dict()
    contract = tiny_contract().model_copy(update={"source_digest": weights_digest(weights)})
    kept = (recipe or tiny_recipe(epochs=2)).model_dump(mode="json")
    write_checkpoint(path, Checkpoint(built, weights, contract, kept))
    return path


def invoke(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def parameters(file):
    return sum(p.numel() for p in load_detector(file).module.parameters())
