"""Make hostile inputs of every kind, by number: the same number gives the same input.

Each maker writes what it needs into an empty folder and returns the words of a command of `loomsight`. All
start from inputs that are sound (`Workshop`) and spoil one or a few places of them.
"""

from __future__ import annotations

import copy
import json
import random
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import typer

from edge.bundle.manifest import FORM as BUNDLE
from edge.bundle.manifest import SIGNATURE_NAME
from edge.bundle.sealed import SealedForm
from edge.bundle.signing import sign_bundle
from edge.commands.run_cli import app as run_app
from edge.config.edge import EdgeConfig
from edge.core.files import file_digest
from edge.teach.article_file import FORM as ARTICLE
from tests.conftest import write_bright_cell_bundle
from tests.hostile.values import BINARY, NESTED_TEXTS, NUMBER_TEXTS, TEXTS, places_of
from tests.unit.distill.tiny import write_tiny_dataset

Words = list[str]

TOML_VALUES = (*NUMBER_TEXTS, "true", "[]", "{}", "{a = {}}", '""', "[1, 'a', {}]", *NESTED_TEXTS[:2])
JSON_VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 2**63, 10**400, 1e308, -1e308, float("nan"), float("inf"), "", [], {}, [[]] * 3,
    {"a": {"b": {}}}, ["x"] * 1000, [1e308] * 4, "\ud800", "a\0b", *TEXTS[:20],
)  # fmt: skip
SQL_VALUES: tuple[Any, ...] = (
    None, -1, 0, 2**62, 1e308, -1e308, 9e999, "", "no number", "é" * 5000, b"", b"\xff\xfe\0", '{"a":',
    "[1e999]",
)  # fmt: skip
LABEL_FORMS = ("voc", "coco", "florence", "cvat", "label-studio")
IMAGE_SUFFIXES = (".png", ".jpg", ".webp", ".tif", ".bmp", ".pgm")
WRITTEN = ("detections", "summary", "save_pictures", "record", "roll_record", "page_token_file")
"""Settings that name what is written: the devices of this machine are not given to them."""
WAITING = (
    "wait_for_camera",
    "show",
    "page",
    "health_port",
    "health_host",
    "camera",
    "stop",
    "machine",
    "mqtt",
)
"""Settings that wait for something legitimately, or reach out of the process."""
SETTINGS = sorted(set(EdgeConfig.model_fields) - {*WRITTEN, *WAITING})
FLAGS = sorted(
    flag
    for parameter in typer.main.get_command(run_app).params
    for flag in parameter.opts
    if flag.removeprefix("--").replace("-", "_") in SETTINGS and not getattr(parameter, "is_flag", False)
)
"""Of the settings not all have a flag: one that is not there would be refused whatever its value is."""


@dataclass(frozen=True)
class Workshop:
    """Sound inputs that the hostile ones are made of.

    Attributes:
        data: a data set folder.
        labels: the same labels in each form that the project writes; filled by `write_workshop`.
        bundle: of a tiny model; article: an article file that was taught beside it.
        record: of one roll, with its audit log beside it; document: of that roll.
        stream: what a run recorded; users: of a live page; key: a secret key that signs bundles.
    """

    folder: Path

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def bundle(self) -> Path:
        return self.folder / "bundle"

    @property
    def article(self) -> Path:
        return self.folder / "article"

    @property
    def record(self) -> Path:
        return self.folder / "rolls.db"

    @property
    def stream(self) -> Path:
        return self.folder / "stream"

    @property
    def document(self) -> Path:
        return self.folder / "roll.json"

    @property
    def audit_log(self) -> Path:
        return self.folder / "rolls.db.audit.jsonl"

    @property
    def users(self) -> Path:
        return self.folder / "users.json"

    @property
    def key(self) -> Path:
        return self.folder / "key"

    def labels(self, form: str) -> Path:
        return self.folder / "labels" / form

    def images(self) -> list[Path]:
        return sorted((self.folder / "images").iterdir())


def write_workshop(folder: Path, run: Callable[[Sequence[str]], int]) -> Workshop:
    """Make the sound inputs.

    Args:
        run: runs a command of `loomsight`; returns its exit code.
    """
    shop = Workshop(folder)
    write_tiny_dataset(shop.data, train=3, val=2)
    write_bright_cell_bundle(shop.bundle)
    (folder / "images").mkdir()
    image = np.random.default_rng(0).normal(110, 12, (96, 128)).clip(0, 255).astype(np.uint8)
    for suffix in IMAGE_SUFFIXES:
        cv2.imwrite(str(folder / "images" / f"cloth{suffix}"), image)
    for form in LABEL_FORMS:
        if run(["labels", "convert", str(shop.data), "--to", form, "--out", str(shop.labels(form))]):
            raise RuntimeError(f"no labels of the form {form}")
    camera = "loom:width_px=256,bed_left_mm=2,bed_right_mm=2,length_m=0.2,mean_grey=120,seed=7"
    made = ["edge-run", "--camera", camera, "--model", str(shop.bundle), "--threads", "1"]
    if run([*made, "--roll-record", str(shop.record), "--record", str(shop.stream)]):
        raise RuntimeError("no record")
    clean = (
        "loom:width_px=160,bed_left_mm=-20,bed_right_mm=-20,length_m=0.96,mean_grey=70,defects_per_m=0,seed=3,"
        "weave=plain"
    )
    budget = ["--false-alarms-per-100m", "1000"]
    taught = ["teach", "--article", "plain", "--camera", clean, *budget, "--out", str(shop.article)]
    if run([*taught, "--model", str(shop.bundle), "--threads", "1"]):
        raise RuntimeError("no article file")
    for words in (
        ["roll", "export", str(shop.record), "--format", "json", "--out", str(shop.document)],
        ["user", "add", "anna", "--role", "engineer", "--users", str(shop.users)],
        ["bundle", "key", "new", str(shop.key)],
    ):
        if run(words):
            raise RuntimeError(f"{words} failed")
    return shop


def on_cloth(shop: Workshop, *words: str, camera: Path | None = None, model: Path | None = None) -> Words:
    """Return a short edge-run."""
    given = ["--camera", str(camera or shop.images()[0]), "--model", str(model or shop.bundle), *words]
    return ["edge-run", *given, "--frames", "2", "--threads", "1"]


def spoilt_bytes(data: bytes, chance: random.Random) -> bytes:
    """Cut, overwrite, repeat or exchange bytes."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(changed) + 1)
        how = chance.randrange(6)
        if how == 0:
            del changed[at:]
        elif how == 1:
            changed[at : at + chance.randint(1, 64)] = bytes(chance.randint(1, 64))
        elif how == 2:
            changed[at:at] = chance.randbytes(chance.randint(1, 32))
        elif how == 3:
            changed[at:at] = changed[:at][-64:]
        elif how == 4 and changed:
            changed[at % len(changed)] ^= 1 << chance.randrange(8)
        else:
            changed += bytes(chance.randint(1, 4096))
    return bytes(changed)


def spoilt_json(text: str, chance: random.Random) -> str:
    """Exchange, leave out, repeat or add values of a JSON document."""
    document = copy.deepcopy(json.loads(text))
    for _ in range(chance.randint(1, 3)):
        try:
            places = places_of(document)
        except RecursionError:  # it was given a value that is nested as deep as can be
            break
        if not places:
            break
        *path, key = chance.choice(places)
        parent = document
        for part in path:
            parent = parent[part]
        how = chance.randrange(5)
        if how < 3:
            parent[key] = _own(chance.choice(JSON_VALUES))
        elif how == 3:
            del parent[key]
        elif isinstance(parent, list):
            parent.insert(key, copy.deepcopy(parent[key]))
        else:
            parent[chance.choice(TEXTS)] = _own(chance.choice(JSON_VALUES))
    return json.dumps(document)


def _own(value: Any) -> Any:
    """Return a copy: a value that is put into itself later could not be written."""
    try:
        return copy.deepcopy(value)
    except RecursionError:  # nested as deep as can be
        return value


def spoilt_text(text: str, chance: random.Random) -> bytes:
    """Exchange words and numbers of a text, or its bytes."""
    how = chance.randrange(4)
    if how == 0:
        return spoilt_bytes(text.encode(), chance)
    if how == 1:
        return chance.choice((*BINARY, *(one.encode("utf-8", "surrogatepass") for one in NESTED_TEXTS)))
    words = text.replace(">", "> ").replace("<", " <").split(" ")
    for _ in range(chance.randint(1, 3)):
        words[chance.randrange(len(words))] = chance.choice((*NUMBER_TEXTS, *TEXTS))
    encoding = chance.choice(("utf-8", "utf-8", "utf-8", "utf-16", "utf-8-sig"))
    return " ".join(words).encode(encoding, "surrogatepass")


def spoil_a_file(files: Sequence[Path], chance: random.Random) -> None:
    """Spoil one of some files, as what it is."""
    file = chance.choice(files)
    data = file.read_bytes()
    try:
        text = data.decode()
    except UnicodeDecodeError:
        file.write_bytes(spoilt_bytes(data, chance))
        return
    if file.suffix == ".json" and chance.randrange(4):
        file.write_text(spoilt_json(text, chance), encoding="utf-8", errors="surrogatepass")
    else:
        file.write_bytes(spoilt_text(text, chance))


def an_option(shop: Workshop, folder: Path, chance: random.Random) -> Words:
    """A value on the command line that no person would write."""
    value = chance.choice((*NUMBER_TEXTS, *TEXTS)).replace("\0", "0")
    flag = chance.choice(FLAGS)
    simulated = chance.choice(("seed", "defects-per-m", "mm-per-px"))
    model, made = str(shop.bundle), str(folder / "out")
    away = value.replace("/dev/", "/nodev/")
    return chance.choice(
        [
            on_cloth(shop, f"{flag}={value}"),
            ["edge-run", "--camera", away, "--model", model, "--frames", "1", "--seconds", "5"],
            ["simulate", "--out", made, "--images", "1", f"--{simulated}", value],
            [
                "labels",
                "split",
                str(shop.data),
                "--out",
                made,
                chance.choice(("--split", "--group")),
                value,
            ],
            ["labels", "convert", str(shop.data), "--out", made, "--to", value],
            ["roll", "show", str(shop.record), value],
            ["roll", "report", str(shop.record), "--roll", value, "--out", made],
            ["labels", "check", value],
            ["bundle", "show", value],
            ["export", value, "--images", value, "--out", made],
            ["stop", "probe", "--config", value],
            ["service", "print", "--user", value],
            ["anchors", str(shop.data), "--out", made, "--count", value],
        ]
    )


def a_setting(shop: Workshop, folder: Path, chance: random.Random) -> Words:
    """A file of settings, or an environment's value, with values of the wrong kind."""
    rows = [
        f"{chance.choice(SETTINGS)} = {chance.choice((*TOML_VALUES, *map(json.dumps, TEXTS)))}"
        for _ in range(chance.randint(1, 3))
    ]
    text = "\n".join(dict.fromkeys(rows)) + "\n"
    file = folder / "settings.toml"
    file.write_bytes(
        spoilt_text(text, chance) if chance.randrange(4) == 0 else text.encode("utf-8", "replace")
    )
    return on_cloth(shop, "--config", str(file))


def a_label_file(shop: Workshop, folder: Path, chance: random.Random) -> Words:
    """Labels of any form, spoilt in a few places."""
    form = chance.choice([*LABEL_FORMS, "yolo"])
    copied = folder / "labels"
    source = shop.data if form == "yolo" else shop.labels(form)
    if source.is_dir():
        shutil.copytree(source, copied)
        files = [
            one for one in sorted(copied.rglob("*")) if one.is_file() and one.suffix not in IMAGE_SUFFIXES
        ]
    else:  # one document; its images lie beside it
        copied = folder / f"{source.name}{source.suffix or '.xml'}"
        files = [Path(shutil.copy(source, copied))]
    spoil_a_file(files, chance)
    return chance.choice(
        [
            ["labels", "check", str(copied)],
            ["labels", "stats", str(copied)],
            ["labels", "convert", str(copied), "--out", str(folder / "out")],
        ]
    )


def an_image(shop: Workshop, folder: Path, chance: random.Random) -> Words:
    """An image file, spoilt, among sound ones."""
    images = folder / "images"
    shutil.copytree(shop.folder / "images", images)
    file = chance.choice(sorted(images.iterdir()))
    file.write_bytes(spoilt_bytes(file.read_bytes(), chance))
    if chance.randrange(3) == 0:
        file.rename(file.with_suffix(chance.choice(IMAGE_SUFFIXES)))
    return on_cloth(shop, camera=images)


def a_bundle(shop: Workshop, folder: Path, chance: random.Random) -> Words:
    """A bundle whose manifest, model or golden image is spoilt, sometimes under a seal that holds."""
    bundle = spoilt_copy(shop.bundle, folder / "bundle", BUNDLE, chance)
    if chance.randrange(2):
        return ["bundle", chance.choice(("verify", "show")), str(bundle)]
    return on_cloth(shop, model=bundle / "model.onnx" if chance.randrange(2) else bundle)


def an_article(shop: Workshop, folder: Path, chance: random.Random) -> Words:
    """An article file whose manifest, arrays or sheet is spoilt, sometimes under a seal that holds."""
    article = spoilt_copy(shop.article, folder / "article", ARTICLE, chance)
    if chance.randrange(2):
        return ["bundle", "verify", str(article)]
    return on_cloth(shop, "--reference", str(article))


def spoilt_copy(source: Path, copy: Path, form: SealedForm, chance: random.Random) -> Path:
    """Copy a sealed folder and spoil a file of it; one time in two what vouches for it is made again."""
    shutil.copytree(source, copy)
    spoil_a_file([one for one in sorted(copy.rglob("*")) if one.is_file()], chance)
    manifest = copy / form.manifest_name
    if chance.randrange(2) and manifest.is_file():
        vouch_again(copy, manifest)
        (copy / form.seal_name).write_bytes(form.seal_of(copy))
    return copy


def vouch_again(folder: Path, manifest: Path) -> None:
    """Put the digests that the files have now into a manifest, if it can still be read."""
    try:
        said = json.loads(manifest.read_bytes())
        said["files"] = {name: file_digest(folder / name) for name in said["files"]}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OSError):
        return
    manifest.write_text(json.dumps(said), encoding="utf-8")


def a_record(shop: Workshop, folder: Path, chance: random.Random) -> Words:
    """A roll record with values of any type in any column, or with spoilt bytes."""
    record = folder / "rolls.db"
    with closing(sqlite3.connect(shop.record)) as source, closing(sqlite3.connect(record)) as target:
        source.backup(target)
    if chance.randrange(4) == 0:
        record.write_bytes(spoilt_bytes(record.read_bytes(), chance))
    else:
        spoil_rows(record, chance)
    if chance.randrange(3) == 0:
        return on_cloth(shop, "--roll-record", str(record), "--mm-per-px", "0.2")
    command = chance.choice(("list", "show", "report", "export"))
    out = ["--out", str(folder / "out.html")] if command == "report" else []
    return ["roll", command, str(record), *out]


def spoil_rows(record: Path, chance: random.Random) -> None:
    """Exchange values in a few rows of a few tables."""
    with closing(sqlite3.connect(record)) as base:
        tables = [name for (name,) in base.execute("select name from sqlite_master where type = 'table'")]
        for _ in range(chance.randint(1, 4)):
            table = chance.choice(tables)
            columns = [row[1] for row in base.execute(f'pragma table_info("{table}")')]
            try:
                base.execute(
                    f'update "{table}" set "{chance.choice(columns)}" = ?', (chance.choice(SQL_VALUES),)
                )
            except sqlite3.Error:
                continue  # what the schema forbids cannot stand in a record
        base.commit()


def a_stream(shop: Workshop, folder: Path, chance: random.Random) -> Words:
    """A recorded stream, spoilt in its index or in a frame."""
    stream = folder / "stream"
    shutil.copytree(shop.stream, stream)
    spoil_a_file([one for one in sorted(stream.rglob("*")) if one.is_file()], chance)
    return on_cloth(shop, camera=stream)


def a_taxonomy(shop: Workshop, folder: Path, chance: random.Random) -> Words:
    """A taxonomy file, spoilt."""
    import edge.core.taxonomy

    file = folder / "taxonomy.toml"
    shipped = Path(edge.core.taxonomy.__file__).with_name("taxonomy.toml").read_text(encoding="utf-8")
    file.write_bytes(spoilt_text(shipped, chance))
    return ["labels", "check", str(shop.data), "--taxonomy", str(file)]


def a_document(shop: Workshop, folder: Path, chance: random.Random) -> Words:
    """The document of a roll, spoilt in its text or in a value."""
    text = shop.document.read_text(encoding="utf-8")
    file = folder / "roll.json"
    if chance.randrange(3):
        file.write_text(spoilt_json(text, chance), encoding="utf-8", errors="surrogatepass")
    else:
        file.write_bytes(spoilt_bytes(text.encode(), chance))
    return ["roll", "import", str(file), "--record", str(folder / "r.db")]


def an_audit_log(shop: Workshop, folder: Path, chance: random.Random) -> Words:
    """An audit log with a spoilt entry, or bytes that are none."""
    lines = shop.audit_log.read_text(encoding="utf-8").splitlines()
    file = folder / "audit.jsonl"
    place = chance.randrange(len(lines))
    if chance.randrange(3):
        lines[place] = spoilt_json(lines[place], chance)
        file.write_text("\n".join(lines) + "\n", encoding="utf-8", errors="surrogatepass")
    else:
        file.write_bytes(spoilt_bytes("\n".join(lines).encode(), chance))
    command = chance.choice(("show", "verify", "export"))
    return ["audit", command, str(file), *(["--out", str(folder / "out")] if command == "export" else [])]


def a_list_of_users(shop: Workshop, folder: Path, chance: random.Random) -> Words:
    """The users of a live page, spoilt."""
    text, file = shop.users.read_text(encoding="utf-8"), folder / "users.json"
    if chance.randrange(4):
        file.write_text(spoilt_json(text, chance), encoding="utf-8", errors="surrogatepass")
    else:
        file.write_bytes(spoilt_bytes(text.encode(), chance))
    file.chmod(0o600)
    users = ["--users", str(file)]
    words = chance.choice((["list"], ["add", "bert", "--role", "operator"], ["remove", "anna"]))
    return ["user", *words, *users]


def a_key(shop: Workshop, folder: Path, chance: random.Random) -> Words:
    """A secret key that is spoilt, or a signature that is, met by a device that trusts its key."""
    bundle, key = folder / "bundle", folder / "key"
    shutil.copytree(shop.bundle, bundle)
    if chance.randrange(2):
        key.write_bytes(spoilt_bytes(shop.key.read_bytes(), chance))
        key.chmod(0o600)
        return ["bundle", "sign", str(bundle), "--key", str(key)]
    public = shop.key.with_name("key.pub").read_text(encoding="utf-8").splitlines()[-1]
    sign_bundle(bundle, shop.key)
    spoil_a_file([bundle / SIGNATURE_NAME], chance)
    settings = folder / "box.toml"
    settings.write_text(f'[trust]\nkeys = ["{public}"]\n', encoding="utf-8")
    return on_cloth(shop, "--config", str(settings), model=bundle)


MAKERS: dict[str, Callable[[Workshop, Path, random.Random], Words]] = {
    "option": an_option,
    "setting": a_setting,
    "label file": a_label_file,
    "image": an_image,
    "bundle": a_bundle,
    "article": an_article,
    "record": a_record,
    "stream": a_stream,
    "taxonomy": a_taxonomy,
    "roll document": a_document,
    "audit log": an_audit_log,
    "list of users": a_list_of_users,
    "key": a_key,
}


def hostile_words(kind: str, number: int, shop: Workshop, folder: Path) -> Words:
    """Make one hostile input in a folder; returns the words of the command that is to meet it."""
    return MAKERS[kind](shop, folder, random.Random(f"{kind} {number}"))
