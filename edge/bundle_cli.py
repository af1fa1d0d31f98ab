"""Command line of `loomsight bundle`: verify, install, roll back and show bundles."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge.console import configure_logging

if TYPE_CHECKING:
    from edge.bundle import Bundle

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Verify, install, roll back and show the bundles that edge-run runs.",
)

BundleArgument = Annotated[Path, typer.Argument(help="Bundle folder, or a store.")]
StoreArgument = Annotated[
    Path, typer.Argument(help="Folder that keeps bundles; edge-run --model takes it.")
]
ConfigFlag = Annotated[
    Path | None, typer.Option(help="Settings of edge-run as TOML: how the golden pictures are inspected.")
]
BackendFlag = Annotated[
    str | None, typer.Option(help="onnxruntime, openvino, tensorrt or auto  [default: onnxruntime]")
]


@app.command()
def verify(bundle: BundleArgument, config: ConfigFlag = None, backend: BackendFlag = None) -> None:
    """Check every digest, and inspect the golden pictures on this box."""
    configure_logging()
    from edge.bundle import is_sealed, open_bundle
    from edge.bundle_store import bundle_path

    opened = open_bundle(bundle_path(bundle))
    _inspected(config, backend)(opened)
    manifest = opened.manifest
    files, golden = (len(manifest.files), len(manifest.golden)) if manifest else (0, 0)
    sealed = "sealed" if is_sealed(opened.path) else "not sealed: nothing vouches for bundle.json itself"
    typer.echo(f"{opened.path}: {files} files whole, {golden} golden pictures as published, {sealed}")


@app.command()
def install(
    source: BundleArgument, store: StoreArgument, config: ConfigFlag = None, backend: BackendFlag = None
) -> None:
    """Verify a bundle, copy it into a store and make it current; the one before is kept."""
    configure_logging()
    from edge.bundle_install import install as install_bundle

    state = install_bundle(source, store, _inspected(config, backend))
    typer.echo(f"current   {state.current}\nprevious  {state.previous or 'none'}")


@app.command()
def rollback(store: StoreArgument, config: ConfigFlag = None, backend: BackendFlag = None) -> None:
    """Verify the previous bundle of a store and make it current again."""
    configure_logging()
    from edge.bundle_install import roll_back

    state = roll_back(store, _inspected(config, backend))
    typer.echo(f"current   {state.current}\nprevious  {state.previous or 'none'}")


@app.command()
def show(
    bundle: BundleArgument,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Print what a bundle says of itself: contract, scorecard and parity."""
    configure_logging()
    from edge.bundle_report import bundle_facts, print_facts

    print_facts(bundle_facts(bundle), as_json)


def _inspected(config: Path | None, backend: str | None) -> Callable[[Bundle], None]:
    """Return a check that opens a bundle as edge-run would, golden pictures included."""
    from edge.config import config_from_process
    from edge.run import open_model

    def check(bundle: Bundle) -> None:
        settings = config_from_process(config, {"model": bundle.path, "backend": backend})
        with ExitStack() as stack:
            open_model(settings, stack)

    return check
