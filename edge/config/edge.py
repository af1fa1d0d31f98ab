"""Define the settings of the edge commands. Defaults stand here and nowhere else.

Order: default < TOML file < environment (`LOOMSIGHT_EDGE_CAMERA=1`) < flag (`--camera 1`).
The keys of the file are the names of the flags with underscores.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, field_validator

from edge.backends.registry import BACKENDS
from edge.config.agent import AgentSettings
from edge.config.articles import ArticleSettings, with_article
from edge.config.audit import AuditSettings
from edge.config.auto_teach import AutoTeachSettings
from edge.config.buyers import BuyerRules
from edge.config.machine import MachineSettings
from edge.config.mqtt import MqttSettings
from edge.config.opcua import OpcuaSettings
from edge.config.roll_header import RollHeader, header_words
from edge.config.stop import StopSettings
from edge.config.trust import TrustSettings
from edge.core.address import redact_credentials
from edge.core.settings import OneOf, OwnPath, environment_values, own_path, resolved

Layers = dict[str, dict[str, Any]]
"""Source -> values, a later one wins."""

ENVIRONMENT_PREFIX = "LOOMSIGHT_EDGE_"
TABLES = (
    "providers", "score_thresholds", "grade_limits", "articles", "auto_teach", "page_hosts", "stop",
    "machine", "mqtt", "opcua", "roll_header", "buyers", "audit", "trust", "agent",
)  # fmt: skip
"""Settings that the environment gives as JSON."""

MAIN_KEYS = {"stop": "mode", "mqtt": "broker", "auto_teach": "folder"}
"""Tables that a flag, or the environment, may give by one word: the key that it sets."""

SELVEDGE_MARGIN_MM: Final = 10.0
"""Nearer to a selvedge nothing is reported, unless settings say otherwise."""

RollName = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
"""What people call a roll or an article: one line of text."""


class EdgeConfig(BaseModel):
    """Hold every setting of `edge-run`.

    Attributes:
        camera: index, device, video file, image, folder, URL, or `loom[:key=value,...]`.
        model: bundle folder, store, or ONNX file with a contract; None for the shipped demo bundle.
        candidate: store of a bundle that inspects beside the one in use, in shadow; see `loomsight agent`.
            None for none.
        mm_per_px: scale of the camera's image on the cloth, where the camera does not tell it.
        offset_mm: from the left selvedge of the cloth to the left edge of the camera's view; negative where
            the view begins beside the cloth. None: millimetres are counted from a selvedge that the camera
            knows, else from the left edge of the view.
        loom: what the cameras beside each other on one cloth have in common; None for a camera by itself.
        bit_depth: significant bits of a camera or image that delivers 16-bit values; None: 16, and an image
            that fills only 12 of them is refused.
        reconnect: open a live camera again whenever it fails, forever; False ends the run then.
        wait_for_camera: wait for a live camera that is not there, or does not answer, at the start.
        frame_size: `first`: a live camera is down while it gives frames of another size than the first;
            `any`: it goes on at another size once it gives no others.
        silent_s: a live camera without a frame for so long has failed; of one that is paced by the cloth,
            one without a sign of life.
        frozen_s: a live camera that gives one image for so long has failed.
        frames, seconds, metres: end after that much; None for no limit.
        queue_frames: frames that may wait between capture and inspection.
        selvedge_margin_mm: nearer to a known selvedge, or to an edge of the cloth that is found, nothing is
            reported: the cords of a selvedge look like broken ends, a cut end like a wrinkle.
        cloth: `auto` leaves out what lies off the cloth, once the cloth was recognised; `all` takes every
            image as cloth throughout.
        optics: `auto` watches lamp and lens and inspects nothing where the lamp is out; `off` does neither.
        batch_tiles: most tiles given to the network at once.
        backend: what runs the network; `auto` takes the fastest one, by a measurement that it remembers.
        precision: to compute in. `f16` and `int8` take that variant of the model from the bundle, `bf16` is
            OpenVINO's. `auto`: of TensorRT the lowest the bundle has; else float32, with OpenVINO bfloat16
            where the processor has AMX for it, with the backend `auto` INT8 where that is the fastest.
        providers: of ONNX Runtime, in order of preference; empty for the built-in order.
        threads: of one inference; None for the number of cores.
        score_thresholds: per class, in place of those in the contract.
        detections, summary: files to write; None for none.
        save_pictures: folder for images of frames with defects; None for none.
        pictures_gb: gigabytes that all images in that folder may take; the oldest make room.
        near_miss: a score below its threshold by at most so much is worth an image; 0: nothing is.
        near_misses_per_hour: most such images in any hour.
        record: new folder for the raw stream, to be inspected again as a camera; None for none.
        roll_record: SQLite file that keeps rolls, defects, gaps and events; None for none.
        roll: name of the roll; one of that name in the record is continued. None begins a new one.
        article: of the cloth, for the record, and for what `articles` says of it.
        roll_header: what stands at the head of the roll's paper; `--roll-header KEY=TEXT` sets single keys.
        articles: what single articles have of their own, by name.
        reference: article file of `loomsight teach`: the reference model looks beside the detector, whose
            thresholds come from there, too, but for those in `score_thresholds`. None: the detector alone.
        auto_teach: whether articles that nobody taught are learnt from the first metres of their roll;
            `--auto-teach` sets the folder of their article files.
        cloth_width_mm: width of the cloth for grading; None: measured, where both selvedges are known.
        grade_limits: grade to the most points per 100 square metres (ASTM D5430) that it admits. The
            standard sets none; these are a proposal.
        buyers: rules by which single buyers take cloth, by name, for `loomsight roll --buyer`.
        seam: `auto` begins a new roll at each sewn joint between two pieces of cloth.
        seam_apart_m: least distance from one joint to the next.
        stop: when the machine is stopped; `--stop` sets its mode.
        machine: how the machine is reached.
        mqtt: where events are sent; `--mqtt` sets the broker.
        opcua: how a plant's control system reaches this device; None serves no OPC UA.
        health_port: serve `/metrics` and `/healthz` there; 0 for a free port, None for no server.
        health_host: address to serve on; others than this device reach no localhost.
        health_frame_s: without a finished frame for so long the run is not well, unless the loom stands.
        show: open a window with the image and its boxes.
        page: `[HOST:]PORT` of the live page; without a host only this machine reaches it. None for no page.
        page_stays: keep the page open when inspection is finished, until Ctrl-C.
        page_token_file: holds the secret that permits changes on the page; made if it is not there. None
            makes a new secret with every start.
        page_hosts: further names by which the page is called, for instance behind a proxy.
        page_users_file: users of the page with their roles, as `loomsight user` writes them; None: who has
            the secret of the page may change everything.
        audit: where it is kept who did what.
        trust: by which keys a bundle has to be signed.
        agent: from where `loomsight agent` fetches releases; None for nowhere.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False)

    camera: str = Field(default="0", min_length=1)
    model: OwnPath | None = None
    candidate: OwnPath | None = None
    mm_per_px: float | None = Field(default=None, gt=0, le=100)
    offset_mm: float | None = Field(default=None, ge=-10_000, le=10_000)
    loom: RollName | None = None
    bit_depth: int | None = Field(default=None, ge=9, le=16)
    reconnect: bool = True
    wait_for_camera: bool = False
    frame_size: Literal["first", "any"] = "first"
    silent_s: float = Field(default=10.0, ge=1, le=3600)
    frozen_s: float = Field(default=10.0, ge=1, le=3600)
    frames: int | None = Field(default=None, ge=1)
    seconds: float | None = Field(default=None, gt=0, le=1e9)
    metres: float | None = Field(default=None, gt=0, le=1e9)
    queue_frames: int = Field(default=4, ge=1, le=1024)
    selvedge_margin_mm: float = Field(default=SELVEDGE_MARGIN_MM, ge=0, le=1000)
    cloth: Literal["auto", "all"] = "auto"
    optics: Literal["auto", "off"] = "auto"
    batch_tiles: int = Field(default=16, ge=1, le=256)
    backend: Annotated[str, OneOf(("auto", *BACKENDS))] = "onnxruntime"
    precision: Literal["auto", "f32", "bf16", "f16", "int8"] = "auto"
    providers: tuple[str, ...] = ()
    threads: int | None = Field(default=None, ge=1)
    score_thresholds: dict[str, Annotated[float, Field(ge=0, le=1)]] = {}
    detections: OwnPath | None = None
    summary: OwnPath | None = None
    save_pictures: OwnPath | None = None
    pictures_gb: float = Field(default=20.0, gt=0, le=1e6)
    near_miss: float = Field(default=0.1, ge=0, le=1)
    near_misses_per_hour: int = Field(default=30, ge=1, le=3600)
    record: OwnPath | None = None
    roll_record: OwnPath | None = None
    roll: RollName | None = None
    article: RollName | None = None
    roll_header: RollHeader = RollHeader()
    articles: dict[RollName, ArticleSettings] = {}
    reference: OwnPath | None = None
    auto_teach: AutoTeachSettings = AutoTeachSettings()
    cloth_width_mm: float | None = Field(default=None, gt=0, le=10_000)
    grade_limits: dict[str, Annotated[float, Field(ge=0, le=1e9)]] = {"first": 20.0, "second": 40.0}
    buyers: dict[RollName, BuyerRules] = {}
    seam: Literal["off", "auto"] = "off"
    seam_apart_m: float = Field(default=5.0, gt=0, le=10_000)
    stop: StopSettings = StopSettings()
    machine: MachineSettings = MachineSettings()
    mqtt: MqttSettings = MqttSettings()
    opcua: OpcuaSettings | None = None
    health_port: int | None = Field(default=None, ge=0, le=65535)
    health_host: str = Field(default="127.0.0.1", min_length=1)
    health_frame_s: float = Field(default=60.0, gt=0, le=1e6)
    show: bool = False
    page: str | None = Field(default=None, coerce_numbers_to_str=True)
    page_stays: bool = False
    page_token_file: OwnPath | None = None
    page_hosts: tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9.:-]+$")], ...] = ()
    page_users_file: OwnPath | None = None
    audit: AuditSettings = AuditSettings()
    trust: TrustSettings = TrustSettings()
    agent: AgentSettings | None = None

    @field_validator("camera")
    @classmethod
    def _camera_at_home(cls, camera: str) -> str:
        """Read `~` in the path of a file or folder; no other source begins so."""
        return str(own_path(Path(camera))) if camera.startswith("~") else camera

    _layers: dict[str, dict[str, Any]] | None = PrivateAttr(None)

    def for_roll(self, roll: str | None, article: str | None) -> EdgeConfig:
        """Return the settings of another roll: those of this run, with what its article has of its own.

        Raises:
            ConfigError: if a name, or what the article has of its own, is not permitted.
        """
        named = {"roll": roll, "article": article}
        layers = self._layers or {"the settings": self.model_dump(exclude_unset=True)}
        return config_of({**layers, "the next roll": named})

    def changed(self, **changes: Any) -> EdgeConfig:
        """Return these settings with others in their place, for all rolls."""
        copy = self.model_copy(update=changes)
        if copy._layers is not None:
            copy._layers = {**copy._layers, "this run": {**copy._layers.get("this run", {}), **changes}}
        return copy

    def public(self) -> dict[str, Any]:
        """Return the settings as plain values for a record, without a password in the camera's address.

        The rules of buyers change no run, and one buyer's report is not to show those of another.
        """
        return self.model_dump(mode="json", exclude={"buyers"}) | {
            "camera": redact_credentials(self.camera)
        }


def layers_of(
    file: Path | None, values: Mapping[str, Any], environment: Mapping[str, str], flags: Mapping[str, Any]
) -> Layers:
    """Return where settings come from, the file first, not yet checked."""
    return {
        str(file): dict(values),
        "the environment": _from_environment(environment),
        "the command line": {key: value for key, value in flags.items() if value is not None},
    }


def config_of(layers: Mapping[str, Mapping[str, Any]]) -> EdgeConfig:
    """Resolve layers.

    Raises:
        ConfigError: naming the source, the key and what is permitted.
    """
    config = resolved(EdgeConfig, _with_whole_tables(with_article(layers)))
    config._layers = {source: dict(values) for source, values in layers.items()}
    return config


def _with_whole_tables(layers: Mapping[str, Mapping[str, Any]]) -> Layers:
    """Let a word for a table change single keys, and leave the rest as earlier layers have it."""
    whole: Layers = {}
    before: dict[str, Any] = {}
    for source, values in layers.items():
        whole[source] = dict(values)
        for key, main in MAIN_KEYS.items():
            if isinstance(values.get(key), str):
                whole[source][key] = {**before.get(key, {}), main: values[key]}
            if isinstance(whole[source].get(key), dict):
                before[key] = whole[source][key]
        if isinstance(whole[source].get("roll_header"), list):
            given = header_words(whole[source]["roll_header"])
            whole[source]["roll_header"] = {**before.get("roll_header", {}), **given}
        if isinstance(whole[source].get("roll_header"), dict):
            before["roll_header"] = whole[source]["roll_header"]
    return whole


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    values = environment_values(environment, ENVIRONMENT_PREFIX)
    return {key: _parsed(text) if key in TABLES else text for key, text in values.items()}


def _parsed(text: str) -> Any:
    """Read a list or a table given as JSON; anything else stays text and is refused by the check."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # also for a number of thousands of digits, or nesting without end
        return text
