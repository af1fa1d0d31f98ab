"""Run the commands `edge-run`, `edge-bench`, `edge-doctor` and `simulate`.

Settings of a run have their defaults in `edge.config.edge`, those of a data set in
`edge.dataset.options`; only what edge-bench alone has (frames, rounds, pause) has them here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NoReturn

import typer

from edge.backends.registry import BACKENDS
from edge.cameras.registry import forms as camera_forms
from edge.core.errors import ConfigError
from edge.process.console import configure_logging, run_command

CameraFlag = Annotated[
    str | None,
    typer.Option(
        help=f"0, /dev/video0, file.mp4, image, folder/, rtsp://..., {camera_forms()}  [default: 0]"
    ),
]
ModelFlag = Annotated[
    Path | None,
    typer.Option(
        help="Bundle folder, store, or ONNX file with a contract  [default: the shipped demo bundle]"
    ),
]
ConfigFlag = Annotated[Path | None, typer.Option(help="Settings as TOML; flags win over it.")]
MmPerPxFlag = Annotated[
    float | None,
    typer.Option(help="Millimetres of cloth per pixel, where the camera does not tell."),
]
ClothFlag = Annotated[
    str | None,
    typer.Option(help="auto: leave out what lies off the cloth; all: inspect everything  [default: auto]"),
]
BatchFlag = Annotated[int | None, typer.Option(help="Most tiles given to the network at once.")]
OnlyFlag = Annotated[
    str | None, typer.Option(metavar="NAME", help="Of the cameras in the file of --config, this one.")
]
ThreadsFlag = Annotated[int | None, typer.Option(help="Threads of one inference.")]
BackendFlag = Annotated[
    str | None,
    typer.Option(
        help=f"{', '.join(BACKENDS)}, or auto: the fastest, measured once  [default: onnxruntime]"
    ),
]
PrecisionFlag = Annotated[
    str | None,
    typer.Option(help="f32, bf16, f16, int8, or auto: the default of the backend  [default: auto]"),
]
VerboseFlag = Annotated[bool, typer.Option("--verbose", help="Log every frame.")]

run_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
bench_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
doctor_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
simulate_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@run_app.command()
def edge_run(
    camera: CameraFlag = None,
    model: ModelFlag = None,
    config: ConfigFlag = None,
    only: OnlyFlag = None,
    reconnect: Annotated[
        bool | None,
        typer.Option("--reconnect/--no-reconnect", help="Open a live camera that fails again, forever."),
    ] = None,
    wait_for_camera: Annotated[
        bool | None, typer.Option("--wait-for-camera", help="Wait for a live camera that is not there.")
    ] = None,
    frame_size: Annotated[
        str | None,
        typer.Option(help="first, or any: a live camera may go on at another size  [default: first]"),
    ] = None,
    frames: Annotated[int | None, typer.Option(help="End after so many frames.")] = None,
    seconds: Annotated[float | None, typer.Option(help="End after so many seconds.")] = None,
    metres: Annotated[float | None, typer.Option(help="End after so many metres of cloth.")] = None,
    detections: Annotated[
        Path | None,
        typer.Option(help="Write detections as JSON lines, one line per frame."),
    ] = None,
    summary: Annotated[Path | None, typer.Option(help="Write the summary as JSON.")] = None,
    save_pictures: Annotated[
        Path | None,
        typer.Option(help="Folder for images of frames with defects."),
    ] = None,
    pictures_gb: Annotated[
        float | None, typer.Option(help="Space for them; the oldest make room  [default: 20]")
    ] = None,
    record: Annotated[
        Path | None,
        typer.Option(help="New folder for the raw stream; --camera FOLDER inspects it again."),
    ] = None,
    roll_record: Annotated[
        Path | None, typer.Option(help="SQLite file that keeps rolls, defects, gaps and events.")
    ] = None,
    roll: Annotated[
        str | None, typer.Option(help="Name of the roll; one of that name goes on  [default: a new one]")
    ] = None,
    article: Annotated[str | None, typer.Option(help="Article of the cloth, for the record.")] = None,
    reference: Annotated[
        Path | None, typer.Option(help="Article file of `loomsight teach`: the cloth is its own reference.")
    ] = None,
    auto_teach: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Learn articles that nobody taught; their files go there."),
    ] = None,
    cloth_width_mm: Annotated[
        float | None, typer.Option(help="Width for grading, where the selvedges are not known.")
    ] = None,
    stop: Annotated[
        str | None,
        typer.Option(help="Stop the machine: on, off, or shadow: only record it  [default: shadow]"),
    ] = None,
    mqtt: Annotated[
        str | None,
        typer.Option(help="Send events to this broker, e.g. mqtts://10.0.0.9; needs --roll-record."),
    ] = None,
    health_port: Annotated[
        int | None, typer.Option(help="Serve /metrics and /healthz on this port of localhost.")
    ] = None,
    show: Annotated[bool | None, typer.Option("--show", help="Show a window with the boxes.")] = None,
    page: Annotated[
        str | None,
        typer.Option(
            metavar="[HOST:]PORT", help="Serve the live page; without HOST for this machine only."
        ),
    ] = None,
    page_token_file: Annotated[
        Path | None, typer.Option(help="Secret of the page  [default: a new one with every start]")
    ] = None,
    mm_per_px: MmPerPxFlag = None,
    bit_depth: Annotated[
        int | None,
        typer.Option(help="Significant bits of 16-bit images."),
    ] = None,
    queue_frames: Annotated[
        int | None,
        typer.Option(help="Frames that may wait for inspection."),
    ] = None,
    selvedge_margin_mm: Annotated[
        float | None, typer.Option(help="Report nothing nearer to a known selvedge.")
    ] = None,
    cloth: ClothFlag = None,
    batch_tiles: BatchFlag = None,
    backend: BackendFlag = None,
    precision: PrecisionFlag = None,
    threads: ThreadsFlag = None,
    verbose: VerboseFlag = False,
) -> None:
    """Find defects in what a camera delivers.

    Ends at the end of the stream, at a limit, on Ctrl-C or on SIGTERM; then prints what was found, how much
    of the cloth was inspected and how long it took. A file with tables [cameras.NAME] runs several cameras.
    """
    flags = {
        "camera": camera,
        "model": model,
        "reconnect": reconnect,
        "wait_for_camera": wait_for_camera,
        "frame_size": frame_size,
        "frames": frames,
        "seconds": seconds,
        "metres": metres,
        "detections": detections,
        "summary": summary,
        "save_pictures": save_pictures,
        "pictures_gb": pictures_gb,
        "record": record,
        "roll_record": roll_record,
        "roll": roll,
        "article": article,
        "reference": reference,
        "auto_teach": None if auto_teach is None else str(auto_teach),
        "cloth_width_mm": cloth_width_mm,
        "stop": stop,
        "mqtt": mqtt,
        "health_port": health_port,
        "show": show,
        "page": page,
        "page_token_file": page_token_file,
        "mm_per_px": mm_per_px,
        "bit_depth": bit_depth,
        "queue_frames": queue_frames,
        "selvedge_margin_mm": selvedge_margin_mm,
        "cloth": cloth,
        "batch_tiles": batch_tiles,
        "backend": backend,
        "precision": precision,
        "threads": threads,
    }
    configure_logging(verbose)
    from edge.app.run import run_box
    from edge.config.device import box_from_process

    run_box(box_from_process(config, flags, only))


@bench_app.command()
def edge_bench(
    camera: CameraFlag = None,
    model: ModelFlag = None,
    config: ConfigFlag = None,
    only: OnlyFlag = None,
    frames: Annotated[int, typer.Option(min=1, help="Frames per round.")] = 40,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of loop and bare engine in turn.")] = 3,
    idle_seconds: Annotated[float, typer.Option(min=0, help="Pause before the after-idle frames.")] = 10.0,
    json_file: Annotated[
        Path | None,
        typer.Option("--json", help="Write the result as JSON."),
    ] = None,
    mm_per_px: MmPerPxFlag = None,
    batch_tiles: BatchFlag = None,
    backend: BackendFlag = None,
    precision: PrecisionFlag = None,
    threads: ThreadsFlag = None,
    lines: Annotated[
        bool,
        typer.Option(
            "--lines",
            help="State capacity in m/min instead, and the ratio in small turns; without --camera on a "
            "4096 px line camera and on 2048 x 1080 px frames.",
        ),
    ] = False,
    all_runtimes: Annotated[
        bool,
        typer.Option("--all-runtimes", help="Compare every backend and precision of this device instead."),
    ] = False,
    reference: Annotated[
        Path | None,
        typer.Option(
            help="With --lines: article file of `loomsight teach`; the loop has turns with it, too."
        ),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(help="With --all-runtimes: bundle whose float32 on ONNX Runtime is the reference."),
    ] = None,
) -> None:
    """Measure the loop of edge-run against the bare engine, in the same run, on the same frames."""
    configure_logging()
    from edge.bench.frames import bench
    from edge.config.device import config_from_process
    from edge.core.errors import ConfigError

    flags = {
        "camera": camera,
        "model": model,
        "mm_per_px": mm_per_px,
        "batch_tiles": batch_tiles,
        "backend": backend,
        "precision": precision,
        "threads": threads,
        "reference": reference,
    }
    resolved = config_from_process(config, flags, only)
    if reference is not None and not lines:
        raise ConfigError("--reference is for --lines.", "Add --lines, or leave it out.")
    if all_runtimes and lines:
        raise ConfigError("--lines and --all-runtimes are two benchmarks.", "Name one of them.")
    if all_runtimes:
        from edge.bench.runtimes import bench_runtimes

        bench_runtimes(resolved, against, frames=frames, rounds=rounds, json_file=json_file)
        return
    if against is not None:
        raise ConfigError("--against is for --all-runtimes.", "Add --all-runtimes, or leave it out.")
    if lines:
        from edge.bench.lines import bench_lines

        given = resolved.camera if "camera" in resolved.model_fields_set else None
        bench_lines(resolved, given, strips=frames, pairs=rounds, json_file=json_file)
        return
    bench(
        resolved,
        frames=frames,
        rounds=rounds,
        idle_seconds=idle_seconds,
        json_file=json_file,
    )


@doctor_app.command()
def edge_doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
    build: Annotated[
        bool, typer.Option("--build", help="Build a TensorRT engine instead, for the GPU of this device.")
    ] = False,
    model: Annotated[
        Path | None,
        typer.Option(
            help="Of what: bundle folder, store, or ONNX file  [default: the shipped demo bundle]"
        ),
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="f32, f16 or int8  [default: the lowest the bundle has]")
    ] = None,
    batch: Annotated[
        int | None, typer.Option(help="Most tiles given to the network at once  [default: 16]")
    ] = None,
    fixed_batch: Annotated[
        bool | None, typer.Option("--fixed-batch", help="Always just so many: faster, if it fits.")
    ] = None,
    targets: Annotated[
        list[str] | None,
        typer.Option("--for", help="Build for other GPUs, e.g. sm86; repeat; needs tensorrt-rtx."),
    ] = None,
    verbose: VerboseFlag = False,
) -> None:
    """Say what this device has, and what to do about what it lacks; or build an engine for its GPU."""
    if build:
        from edge.inference.engine_build import BuildRequest, build_engines

        configure_logging(verbose)
        build_engines(BuildRequest(model, precision, batch, bool(fixed_batch), tuple(targets or ())))
        return
    flags = {"model": model, "precision": precision, "batch": batch, "for": targets}
    flags["fixed-batch"] = fixed_batch
    given = [f"--{name}" for name, value in flags.items() if value is not None]
    if given:
        raise ConfigError(f"{', '.join(given)} wants --build.", "Add it, or leave the rest out.")
    from edge.commands.doctor import print_report

    if not print_report(as_json):
        raise typer.Exit(1)


@simulate_app.command()
def simulate(
    out: Annotated[Path, typer.Option(help="Folder to write; it must not exist, or be empty.")],
    on: Annotated[
        Path | None,
        typer.Option(help="Folder of real clean images to plant the defects in.  [default: woven cloth]"),
    ] = None,
    images: Annotated[int | None, typer.Option(help="Images over all splits.")] = None,
    split: Annotated[str | None, typer.Option(help="Fractions, e.g. train=0.8,val=0.1,test=0.1")] = None,
    seed: Annotated[int | None, typer.Option(help="Same seed, same images.")] = None,
    size_hw: Annotated[tuple[int, int] | None, typer.Option(help="Height and width in pixels.")] = None,
    mm_per_px: Annotated[float | None, typer.Option(help="Millimetres of cloth per pixel.")] = None,
    weave: Annotated[str | None, typer.Option(help="plain, twill or satin  [default: all]")] = None,
    warp_pitch_px: Annotated[float | None, typer.Option(help="Pixels per end  [default: any]")] = None,
    weft_pitch_px: Annotated[float | None, typer.Option(help="Pixels per pick  [default: any]")] = None,
    mean_grey: Annotated[float | None, typer.Option(help="Brightness of the cloth  [default: any]")] = None,
    article_share: Annotated[
        float | None,
        typer.Option(help="Fraction of images with that weave, pitch and grey; others are free."),
    ] = None,
    colour: Annotated[bool | None, typer.Option("--colour", help="Coloured cloth.")] = None,
    difficulty: Annotated[list[str] | None, typer.Option(help="Repeat for several  [default: all]")] = None,
    category: Annotated[list[str] | None, typer.Option(help="Repeat for several  [default: all]")] = None,
    defect_share: Annotated[float | None, typer.Option(help="Fraction of images with defects.")] = None,
    defects_per_m: Annotated[float | None, typer.Option(help="Per metre of roll, in those.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes.")] = None,
    taxonomy: Annotated[Path | None, typer.Option(help="Taxonomy file  [default: the shipped one]")] = None,
) -> None:
    """Write a data set of simulated or clean cloth with planted defects, in YOLO and COCO form, with exact
    ground truth.
    """
    settings: dict[str, object] = {
        "on": on,
        "images": images,
        "split": split,
        "seed": seed,
        "size_hw": size_hw,
        "mm_per_px": mm_per_px,
        "weave": weave,
        "warp_pitch_px": warp_pitch_px,
        "weft_pitch_px": weft_pitch_px,
        "mean_grey": mean_grey,
        "article_share": article_share,
        "colour": colour,
        "defect_share": defect_share,
        "defects_per_m": defects_per_m,
        "workers": workers,
        "difficulties": difficulty or None,
        "categories": category or None,
    }
    configure_logging()
    from edge.commands.simulate import simulate_dataset

    simulate_dataset(out, settings, taxonomy)


def run_main() -> NoReturn:
    """Entry point of `edge-run`."""
    run_command(run_app)


def bench_main() -> NoReturn:
    """Entry point of `edge-bench`."""
    run_command(bench_app)


def doctor_main() -> NoReturn:
    """Entry point of `edge-doctor`."""
    run_command(doctor_app)
