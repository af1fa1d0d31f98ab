"""Run `loomsight bundle`: verify, install, roll back and show bundles."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge.backends.registry import BACKENDS
from edge.core.counted import counted
from edge.process.console import command_app, configure_logging
from edge.process.terminal import echo

if TYPE_CHECKING:
    from edge.bundle.opening import Bundle
    from edge.bundle.store import StoreState

app = command_app("Verify, install, roll back and show the bundles that edge-run runs.")

key_app = command_app("Make keys that sign bundles.")
app.add_typer(key_app, name="key")

BundleArgument = Annotated[Path, typer.Argument(help="Bundle folder, or a store.")]
VerifiedArgument = Annotated[Path, typer.Argument(help="Bundle folder, a store, or an article file.")]
StoreArgument = Annotated[
    Path, typer.Argument(help="Folder that keeps bundles; edge-run --model takes it.")
]
ConfigFlag = Annotated[
    Path | None, typer.Option(help="Settings of edge-run as TOML: how the golden images are inspected.")
]
MaxP99Flag = Annotated[
    float | None, typer.Option(min=0.001, help="Refuse the bundle if p99 of single tiles is above this.")
]
BackendFlag = Annotated[
    str | None, typer.Option(help=f"{', '.join(BACKENDS)} or auto  [default: onnxruntime]")
]


@app.command()
def verify(
    bundle: VerifiedArgument,
    config: ConfigFlag = None,
    backend: BackendFlag = None,
    max_p99_ms: MaxP99Flag = None,
) -> None:
    """Check every digest, inspect the golden images on this device, and time single tiles.

    Of an article file: every digest, and that its features are those that this version computes.
    """
    configure_logging()
    from edge.teach.article_file import is_article

    if is_article(bundle):
        from edge.teach.opening import verified_text

        echo(verified_text(bundle))
        return
    from edge.bundle.opening import is_sealed, open_bundle
    from edge.bundle.store import bundle_path

    opened = open_bundle(bundle_path(bundle))
    _inspected(config, backend, max_p99_ms)(opened)
    manifest = opened.manifest
    files, golden = (len(manifest.files), len(manifest.golden)) if manifest else (0, 0)
    sealed = "sealed" if is_sealed(opened.path) else "not sealed: nothing vouches for bundle.json itself"
    whole, images = counted(files, "file"), counted(golden, "golden image")
    echo(f"{opened.path}: {whole} whole, {images} as published, {sealed}")


@app.command()
def install(
    source: BundleArgument,
    store: StoreArgument,
    config: ConfigFlag = None,
    backend: BackendFlag = None,
    max_p99_ms: MaxP99Flag = None,
) -> None:
    """Verify a bundle, copy it into a store and make it current; the one before is kept."""
    configure_logging()
    from edge.bundle.install import install as install_bundle

    state = install_bundle(source, store, _inspected(config, backend, max_p99_ms))
    echo(f"current   {state.current}\nprevious  {state.previous or 'none'}")
    _note_switch("bundle installed", config, store, state)


@app.command()
def rollback(store: StoreArgument, config: ConfigFlag = None, backend: BackendFlag = None) -> None:
    """Verify the previous bundle of a store and make it current again."""
    configure_logging()
    from edge.bundle.install import roll_back

    state = roll_back(store, _inspected(config, backend))
    echo(f"current   {state.current}\nprevious  {state.previous or 'none'}")
    _note_switch("bundle rolled back", config, store, state)


@app.command()
def sign(
    bundle: Annotated[Path, typer.Argument(help="Bundle folder.")],
    key: Annotated[Path, typer.Option(help="File of the secret key, as `key new` or minisign makes it.")],
) -> None:
    """Sign a bundle: devices with its key in their table [trust] run it, and no other."""
    configure_logging()
    from edge.bundle.manifest import SIGNATURE_NAME
    from edge.bundle.signing import sign_bundle

    public = sign_bundle(bundle, key)
    echo(f"{bundle / SIGNATURE_NAME}: signed by the key {public.name}")


@key_app.command("new")
def new_key(
    file: Annotated[Path, typer.Argument(help="File for the secret key; the public one is FILE.pub.")],
) -> None:
    """Make a key for signing bundles, as minisign has them, without a password."""
    configure_logging()
    from edge.bundle.signing import make_key

    public = make_key(file)
    echo(f"{file}: secret key {public.name}; keep it off the devices, and a copy in a safe place")
    echo(f'[trust]\nkeys = ["{public.text}"]')


@app.command()
def show(
    bundle: BundleArgument,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    image: Annotated[
        Path | None, typer.Option(help="Write what each layer costs as an image (SVG).")
    ] = None,
) -> None:
    """Print what a bundle says of itself: contract, scorecard, parity, and what each layer costs."""
    configure_logging()
    from edge.bundle.layers import write_image
    from edge.commands.bundle_report import bundle_facts, print_facts

    facts = bundle_facts(bundle)
    if image is not None:
        write_image(facts.get("layers", ()), image)
    print_facts(facts, as_json)


def _note_switch(kind: str, config: Path | None, store: Path, state: StoreState) -> None:
    """Note in the audit log of a device which bundle it runs from its next start on."""
    from edge.bundle.signing import signer_of
    from edge.bundle.store import installed_path
    from edge.commands.audit_notes import note_command
    from edge.config.device import box_from_process

    cameras = box_from_process(config, {})
    signer = signer_of(installed_path(store, state.current))
    said = {"store": str(store.resolve()), "current": state.current, "previous": state.previous}
    note_command(cameras, kind, **said, signed_by=signer)


def _inspected(
    config: Path | None, backend: str | None, max_p99_ms: float | None = None
) -> Callable[[Bundle], None]:
    """Return a check that opens a bundle as edge-run would, golden images included, and times it."""
    from edge.backends.latency import check_latency
    from edge.config.device import box_from_process
    from edge.inference.model import open_model

    def check(bundle: Bundle) -> None:
        settings = box_from_process(config, {"model": bundle.path, "backend": backend})[0].config
        with ExitStack() as stack:
            backend_opened, contract = open_model(settings, stack)
            times = check_latency(backend_opened, contract, max_p99_ms)
            echo(f"a tile takes p50 {times['p50']:.1f} / p99 {times['p99']:.1f} ms on this device")

    return check
