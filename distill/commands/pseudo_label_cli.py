"""Run `loomsight pseudo-label`: make a data set with calibrated boxes from a folder of images."""

from __future__ import annotations

import json
import os
import shlex
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from distill.commands.options import (
    DeviceChoice,
    DeviceFlag,
    GroupFlag,
    MmPerPxFlag,
    TaxonomyFlag,
    leave_interrupted,
    new_app,
    say_problems,
)
from distill.core.stopping import kept_where, said_when_stopped
from distill.labels.sets.documents import read_json
from edge.core.errors import ConfigError
from edge.core.taxonomy import load_taxonomy
from edge.process.console import configure_logging, run_command
from edge.process.terminal import echo

if TYPE_CHECKING:
    from distill.labels.engine.settings import EngineSettings

IMAGE_COUNTS = ("labelled", "without_defects", "unreadable", "kept_back", "not_written")

ON_THE_HUB = ("florence", "zero-shot")
"""Kinds of annotators whose models may be named by a hub id."""

JOB_FILE = "job.json"
WAY_ON = "Then the same command with --resume goes on."

app = new_app()


@app.command()
@said_when_stopped(kept_where(JOB_FILE))
def pseudo_label(
    images: Annotated[Path, typer.Argument(metavar="IMAGES", help="Folder of images to label.")],
    out: Annotated[Path, typer.Option(help="Folder of the job.")] = Path("runs/pseudo-label"),
    settings: Annotated[
        Path | None, typer.Option(help="TOML file: annotators, thresholds and the rest.")
    ] = None,
    reviewed: Annotated[
        Path | None,
        typer.Option(help="Labels that people made, with splits: they calibrate and judge annotators."),
    ] = None,
    florence: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Ask a Florence-2: hub id or folder.")
    ] = None,
    zero_shot: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Ask a Grounding DINO or OWLv2: hub id or folder.")
    ] = None,
    detector: Annotated[
        str | None,
        typer.Option(
            metavar="CHECKPOINT|shipped",
            help="Ask a detector trained by `distill`, or the one that ships.",
        ),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            metavar="ARTICLE", help="Ask the reference model: an article file of `teach`, or self."
        ),
    ] = None,
    sam: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Outlines and tight boxes by a SAM.")
    ] = None,
    rounds: Annotated[
        int, typer.Option(min=1, help="Teach annotators on what was accepted and label again.")
    ] = 1,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the job in --out.")] = False,
    group: GroupFlag = None,
    split: Annotated[
        str, typer.Option(help="Fractions of the splits by group, where there is no reviewed set.")
    ] = "train=0.8,val=0.1,test=0.1",
    mm_per_px: MmPerPxFlag = None,
    links: Annotated[
        bool, typer.Option("--links", help="Hard links to the images in place of copies.")
    ] = False,
    ray: Annotated[
        str | None,
        typer.Option(metavar="[ADDRESS]", help="Label on Ray: a cluster's address, or this machine."),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that label, with --ray.")] = 1,
    cpus_per_worker: Annotated[int, typer.Option(min=1, help="That each claims, with --ray.")] = 1,
    gpus_per_worker: Annotated[float, typer.Option(min=0, help="That each claims, with --ray.")] = 0.0,
    device: DeviceFlag = DeviceChoice.auto,
    taxonomy: TaxonomyFlag = None,
) -> None:
    """Label images by several annotators and write a data set folder for `distill`.

    Boxes that are sure enough are accepted, unsure ones wait for `loomsight review`, each with a calibrated
    score and the names of those that found it. Ctrl-C, a crash or a power cut lose nothing that was
    labelled: the same command with --resume goes on.
    """
    configure_logging()
    # By default a thread of torch that is done spins until the others are: one strip of 4096 x 256 px took
    # a YOLOv5n 6.1 s of processor time with two threads, 0.4 s with sleeping ones.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from distill.core.run_folder import way_on_said
    from distill.labels.engine.beginning import check_beginning
    from distill.labels.engine.catalogue import catalogue_of_folder
    from distill.labels.engine.job import Job, StoppedError
    from distill.labels.engine.ray_shards import RayRunner, connected
    from distill.labels.engine.rounds import run_rounds
    from distill.labels.engine.shards import run_here
    from distill.labels.sets.split import shares_from_text

    if mm_per_px is not None and not mm_per_px > 0:
        raise ConfigError(f"--mm-per-px {mm_per_px:g} is no scale.", "It must be positive.")
    models = {"florence": florence, "zero-shot": zero_shot, "detector": detector, "reference": reference}
    resolved = _settings(settings, models, sam)
    _check_hub(resolved)
    classes = load_taxonomy(taxonomy)
    catalogue = catalogue_of_folder(images, resolved.shard_pictures)
    fractions = shares_from_text(split)
    people = _reviewed(reviewed, classes)
    sources = {
        "images": str(images), "reviewed": reviewed and str(reviewed), "group": group, "split": fractions,
        "mm_per_px": mm_per_px, "taxonomy": classes.model_dump(mode="json"),
    }  # fmt: skip
    check_job(out, resolved, sources, resume=resume)
    runner = RayRunner(workers, gpus_per_worker, cpus_per_worker) if ray else run_here
    job = Job(
        out, resolved, classes, catalogue, people, runner,
        device=device.value, mm_per_px=mm_per_px, group=group,
    )  # fmt: skip
    check_beginning(job, rounds, fractions)
    keep_job(out, resolved, sources)
    catalogue.keep(out / "catalogue.jsonl", is_started=is_started(out))
    try:
        with way_on_said(lambda: WAY_ON), connected(ray) if ray else nullcontext():
            best = run_rounds(job, rounds, fractions, links=links)
    except StoppedError:
        leave_interrupted(out)
    _print_summary(best, taxonomy)


def _settings(file: Path | None, models: dict[str, str | None], sam: str | None) -> EngineSettings:
    """Resolve the settings: annotators named by flags are asked beside those of the file."""
    from distill.labels.engine.settings import ENVIRONMENT_PREFIX, EngineSettings
    from edge.core.settings import environment_values, resolved, toml_values

    values = toml_values(file)
    named = [{"kind": kind, "model": model} for kind, model in models.items() if model]
    flags: dict[str, Any] = {}
    if named:
        flags["annotators"] = [*values.get("annotators", ()), *named]
    elif "annotators" not in values:
        raise ConfigError(
            "Nobody is asked.",
            "Name --florence, --zero-shot, --detector or --reference, or annotators in --settings.",
        )
    if sam:
        flags["outlines"] = {"model": sam}
    layers = {
        str(file): values,
        f"the environment ({ENVIRONMENT_PREFIX}*)": environment_values(os.environ, ENVIRONMENT_PREFIX),
        "the command line": flags,
    }
    return resolved(EngineSettings, layers)


def _check_hub(settings: EngineSettings) -> None:
    """See, before torch is loaded, that all models that are named by a hub id can be had."""
    from distill.labels.annotators.hub import check_hub

    asked = [one.model for one in settings.annotators if one.kind in ON_THE_HUB]
    for source in (*asked, *((settings.outlines.model,) if settings.outlines else ())):
        check_hub(source)


def is_started(out: Path) -> bool:
    """Tell whether anything of a job has been labelled: until then it can be started otherwise."""
    return next((out / "answers").glob("*/*/*.jsonl"), None) is not None


def check_job(out: Path, settings: EngineSettings, sources: dict[str, Any], *, resume: bool) -> None:
    """See that a job that has been started is to go on, and as it was started.

    Raises:
        ConfigError: if it is not to be resumed, was started otherwise, or there is none to resume.
    """
    file = out / JOB_FILE
    if resume and not file.is_file():
        raise ConfigError(f"There is no job in {out}.", "Leave --resume out to start one.")
    if not is_started(out):
        return
    if not resume:
        raise ConfigError(
            f"{out} holds a job already.", "Add --resume to go on with it, or choose another --out."
        )
    said, kept = _said(settings, sources), read_json(file) if file.is_file() else None
    if not any((out / "rounds").glob("*/dataset")) and isinstance(kept, dict):
        kept = {**kept, "split": said["split"]}  # the splits are used when the first data set is written
    if kept != said:
        raise ConfigError(
            f"The job in {out} was started with other settings or images.",
            f"Use those of {file}, or choose another --out.",
        )


def keep_job(out: Path, settings: EngineSettings, sources: dict[str, Any]) -> None:
    """Write job.json; one that says the same stays.

    Raises:
        OutputError: if it cannot be written.
    """
    from edge.core.files import write_whole

    file = out / JOB_FILE
    text = json.dumps(_said(settings, sources), ensure_ascii=False, indent=1).encode() + b"\n"
    if not file.is_file() or file.read_bytes() != text:
        write_whole(file, text)


def _said(settings: EngineSettings, sources: dict[str, Any]) -> Any:
    """Return what job.json says, as JSON gives it back."""
    said = {**sources, "settings": settings.model_dump(mode="json")}
    return json.loads(json.dumps(said))


def _reviewed(source: Path | None, classes: Any) -> Any:
    if source is None:
        return None
    from distill.labels.engine.reviewed import ReviewedSet
    from distill.labels.formats.registry import read_labels

    labels = read_labels(source, classes)
    say_problems(labels.problems)
    return ReviewedSet(labels)


def _print_summary(folder: Path, taxonomy: Path | None) -> None:
    from distill.core.next_command import taxonomy_words
    from distill.labels.engine.reliability import RIGHT_RULE
    from distill.labels.engine.rounds import read_report

    report = read_report(folder)
    images, queued = report["images"], sum(report["queued"].values())
    counts = [f"{images.get(name, 0)} {name.replace('_', ' ')}" for name in IMAGE_COUNTS]
    echo(f"images    {', '.join(counts)}")
    accepted = sum(report["accepted"].values())
    echo(f"boxes     {accepted} accepted, {queued} queued, {report['rejected']} rejected")
    quality = report.get("accepted_on_judging_split")
    if quality:
        fractions = (f"{name} {_shown(quality[name])}" for name in ("precision", "recall"))
        echo(f"accepted  {', '.join(fractions)} on the reviewed {report['judged_on']['split']} split")
        echo(f"right     {RIGHT_RULE}")
    echo(f"data set  {folder / 'dataset'}")
    echo(f"report    {folder / 'report.json'}")
    dataset, classes = folder / "dataset", taxonomy_words(taxonomy)
    if queued:
        echo(f"review    {shlex.join(('loomsight', 'review', str(dataset), *classes))}")
    words = ["loomsight", "distill", str(dataset)]
    if not any((dataset / "images" / "val").glob("*")):
        echo("note      all images are in train, distill needs val: EXPRESSION finds the roll in a name")
        words = ["loomsight", "labels", "split", str(dataset), "--group", "EXPRESSION"]
        words += ["--out", str(folder / "split")]
    echo(f"next      {shlex.join([*words, *classes])}")


def _shown(fraction: float | None) -> str:
    return "not known" if fraction is None else f"{fraction:.3f}"


def with_address(arguments: list[str]) -> list[str]:
    """Let `--ray` stand without an address: it then means this machine."""
    completed = []
    for position, argument in enumerate(arguments):
        completed.append(argument)
        following = arguments[position + 1 : position + 2]
        if argument == "--ray" and (not following or following[0].startswith("-")):
            completed.append("local")
    return completed


def command() -> None:
    """Run the command with the arguments of the process."""
    sys.argv[1:] = with_address(sys.argv[1:])
    app()


def main() -> NoReturn:
    """Run the command and leave with its exit code."""
    run_command(command)


if __name__ == "__main__":
    main()
