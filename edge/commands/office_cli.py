"""Run `loomsight office`: collect what all devices report, keep its database, answer from it."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Annotated

import typer

from edge.core.counted import counted
from edge.process.console import command_app, configure_logging
from edge.process.terminal import echo

app = command_app("Collect what all devices report into PostgreSQL, and answer from there.")

ConfigFlag = Annotated[Path | None, typer.Option(help="Settings as TOML: tables [mqtt] and [database].")]


def _configure_logging() -> None:
    """Log changes of state; alembic names each of its parts as it is imported."""
    configure_logging()
    logging.getLogger("alembic").setLevel(logging.WARNING)


@app.command()
def run(config: ConfigFlag = None) -> None:
    """Receive from the broker and store, until a signal ends it; daily delete what is too old."""
    _configure_logging()
    from edge.config.mqtt import password_of
    from edge.core.errors import ConfigError
    from edge.fleet.running import run_office
    from edge.fleet.settings import load_office

    settings = load_office(config)
    if settings.mqtt.broker is None:
        raise ConfigError("No broker is named.", "Set mqtt.broker in the file of --config.")
    run_office(settings, password_of(settings.mqtt, os.environ))


@app.command()
def migrate(
    config: ConfigFlag = None,
    to: Annotated[
        str, typer.Option(metavar="REV", help="Version of the schema, head, or base to remove all.")
    ] = "head",
) -> None:
    """Bring the database's schema to a version, up or down, and write the shifts into it."""
    _configure_logging()
    from edge.fleet.migrate import migrate as bring
    from edge.fleet.settings import load_office

    before, after = bring(load_office(config), to)
    echo(f"schema version {after}" + ("" if before == after else f", before {before}"))


@app.command()
def retain(config: ConfigFlag = None) -> None:
    """Delete what is older than retention_days; `run` does so daily."""
    _configure_logging()
    from edge.fleet.retention import retain_now
    from edge.fleet.settings import load_office

    echo(retain_now(load_office(config)))


@app.command()
def reread(config: ConfigFlag = None) -> None:
    """Read refused messages again, after an update."""
    _configure_logging()
    from edge.fleet.reread import reread as again
    from edge.fleet.settings import load_office

    done, left = again(load_office(config))
    echo(f"{done} messages stored now, {left} still refused")


@app.command()
def show(
    questions: Annotated[
        list[str], typer.Argument(metavar="QUESTION...", help="looms, pareto-kind, gaps, ...; all for all.")
    ],
    config: ConfigFlag = None,
    days: Annotated[float, typer.Option(min=0.01, max=36500, help="Up to now.")] = 7,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Answer a question of the dashboards."""
    _configure_logging()
    from edge.fleet.settings import load_office
    from edge.fleet.show import show as answer

    answer(load_office(config), questions, days, as_json=as_json)


@app.command()
def grafana(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Of Grafana's provisioning.")],
) -> None:
    """Write dashboards and data sources for Grafana."""
    _configure_logging()
    from edge.fleet.dashboards import write_provisioning

    echo(f"{write_provisioning(folder)} files in {folder}")


@app.command()
def publish(
    source: Annotated[Path, typer.Argument(help="Signed bundle, a store, or an article file.")],
    looms: Annotated[str, typer.Option(help="Names, with commas: box1,box2/left.")],
    canary: Annotated[
        str,
        typer.Option(help="Looms that try a bundle first in shadow: how many, or their names; 0: none."),
    ] = "2",
    config: ConfigFlag = None,
) -> None:
    """Release a bundle or an article file: on canaries first, then on all looms."""
    _configure_logging()
    from edge.fleet.judging import unknown_looms
    from edge.fleet.releases import Releases, canaries_of, is_article
    from edge.fleet.settings import load_office

    names = [name.strip() for name in looms.split(",") if name.strip()]
    chosen = [] if is_article(source) else canaries_of(canary, names)
    settings = load_office(config)
    release = Releases(settings.releases).publish(source, names, chosen)
    for name in unknown_looms(settings, release.looms):
        echo(f"the office never heard of a loom '{name}': check its name")
    tried = f", first on {', '.join(release.canaries)}" if release.canaries else ""
    echo(f"{release.id}  {release.kind} '{release.name}' for {counted(len(release.looms), 'loom')}{tried}")
    if release.canaries:
        echo("`loomsight office releases` says how it does; `office run` decides")


@app.command()
def releases(
    config: ConfigFlag = None,
    judge: Annotated[bool, typer.Option("--judge", help="Judge the canaries now.")] = False,
) -> None:
    """List what was released, how far it is, and why."""
    _configure_logging()
    from edge.fleet.judging import judged
    from edge.fleet.releases import Releases
    from edge.fleet.settings import load_office

    settings = load_office(config)
    waiting = {one.release.id: one.why for one in judged(settings)} if judge else {}
    for release in Releases(settings.releases).read().releases:
        last = release.steps[-1]
        why = waiting.get(release.id, last.why) if release.stage == "canary" else last.why
        echo(f"{release.id}  {release.kind:<8} {release.stage:<12} {last.utc[:19]}  {release.name}: {why}")


@app.command()
def rollback(
    release: Annotated[
        str | None,
        typer.Argument(metavar="[RELEASE]", help="First digits of its id  [default: the newest]"),
    ] = None,
    config: ConfigFlag = None,
) -> None:
    """Take back a release: its looms go back to what they had before."""
    _configure_logging()
    from edge.fleet.releases import Releases
    from edge.fleet.settings import load_office

    gone = Releases(load_office(config).releases).roll_back(release, "taken back by hand")
    echo(f"{gone.id}  {gone.kind} '{gone.name}' is taken back; devices follow with their next look")


@app.command()
def collect(
    out: Annotated[Path, typer.Argument(metavar="FOLDER", help="Grows with each call.")],
    config: ConfigFlag = None,
    days: Annotated[float, typer.Option(min=0.01, max=36500, help="Verdicts of so many days.")] = 90,
    per_article: Annotated[
        int | None, typer.Option(min=1, help="Most rolls of an article; the newest ones.")
    ] = None,
) -> None:
    """Fetch judged rolls and their images from the devices: labels for `loomsight labels`."""
    _configure_logging()
    from edge.fleet.collecting import collect as fetch
    from edge.fleet.settings import load_office

    done = fetch(load_office(config), out, days, per_article)
    echo(done.text())
    for problem in done.problems[:20]:
        echo(f"left out: {problem}")
