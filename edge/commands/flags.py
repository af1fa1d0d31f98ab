"""Declare the flags that several commands have in common, and refuse settings that have none."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BaseModel
from typer.core import TyperCommand

from edge.backends.registry import BACKENDS
from edge.cameras.registry import forms as camera_forms
from edge.core.errors import ConfigError

CameraFlag = Annotated[
    str | None,
    typer.Option(
        help=f"0, /dev/video0, file.mp4, image, folder/, rtsp://..., {camera_forms()}  [default: 0]"
    ),
]
ModelFlag = Annotated[Path | None, typer.Option(help="Bundle, store, ONNX file  [default: demo bundle]")]
ConfigFlag = Annotated[Path | None, typer.Option(help="Settings as TOML; flags win over it.")]
MmPerPxFlag = Annotated[float | None, typer.Option(help="Scale, where the camera does not give it.")]
ClothFlag = Annotated[str | None, typer.Option(help="all: also what is off the cloth  [default: auto]")]
BatchFlag = Annotated[int | None, typer.Option(help="Most tiles given to the network at once.")]
OnlyFlag = Annotated[str | None, typer.Option(metavar="NAME", help="This one of the cameras in --config.")]
ThreadsFlag = Annotated[int | None, typer.Option(help="Threads of one inference.")]
BackendFlag = Annotated[
    str | None, typer.Option(help=f"{', '.join(BACKENDS)}, or auto  [default: onnxruntime]")
]
PrecisionFlag = Annotated[str | None, typer.Option(help="f32, bf16, f16, int8, or auto  [default: auto]")]
RollHeaderFlag = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY=TEXT", help="For the roll report: mill=X, customer=Y, ..."),
]
VerboseFlag = Annotated[bool, typer.Option("--verbose", help="Log every frame.")]


class CommandOfSettings(TyperCommand):
    """Name the setting where a flag is given that is none: most settings stand in the file of --config."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the command line.

        Raises:
            ConfigError: if a word is the name of a setting that has no flag.
        """
        flags = {flag for parameter in self.params for flag in parameter.opts}
        for word in args:
            flag = word.partition("=")[0]
            if flag.startswith("--") and flag not in flags:
                _refuse_setting(flag)
        return list(super().parse_args(ctx, args))


def _refuse_setting(flag: str) -> None:
    from edge.config.device import CAMERAS
    from edge.config.edge import ENVIRONMENT_PREFIX, TABLES, EdgeConfig

    key = flag.removeprefix("--").removeprefix("no-").replace("-", "_")
    fields = EdgeConfig.model_fields
    if key not in {*fields, CAMERAS}:
        return
    is_named = key in ("articles", "buyers", CAMERAS)
    is_table = is_named or key in ("opcua", "agent") or isinstance(fields[key].default, dict | BaseModel)
    line = f"[{key}{'.NAME' if is_named else ''}]" if is_table else f"{key} = ..."
    variable = f"{ENVIRONMENT_PREFIX}{key.upper()}{' to JSON' if key in TABLES else ''}"
    raise ConfigError(
        f"{flag} is no flag: {key} is a {'table' if is_table else 'setting'}.",
        f"Write `{line}` into the file of --config{f', or set {variable}' if key in fields else ''}.",
    )
