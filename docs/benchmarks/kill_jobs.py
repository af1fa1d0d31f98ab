"""The commands that are killed: what they work on, how they go on, and what must stand at any moment."""

from __future__ import annotations

import json
import shlex
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
from kill_process import in_peace, last_line

from distill.checkpoint import read_checkpoint
from distill.data.dataset import load_dataset
from edge.accounts.users import read_users
from edge.bundle.opening import open_bundle
from edge.bundle.signing import signer_of
from edge.bundle.store import bundle_path, read_state
from edge.core.contract import Tiles
from edge.core.taxonomy import load_taxonomy
from edge.teach.article_file import open_article
from tests.conftest import write_bright_cell_bundle
from tests.unit.distill.tiny import write_tiny_dataset, write_untrained

CLASSES = load_taxonomy().classes
RECIPE = """
scale = "p"
input_size_hw_px = [64, 64]
overlap_px = 8
epochs = 2
batch = 8
precision = "float32"
ema_warmup_steps = 5
cache_mb = 16
"""
CLOTH = (
    "seed=3,weave=plain,warp_pitch_px=5,weft_pitch_px=5,mean_grey=70,width_px=160,bed_left_mm=-20,"
    "bed_right_mm=-20"
)
LEARNING = """
[auto_teach]
metres = 0.6
false_alarms_per_100m = 100
"""


class Place:
    """Where all jobs work, and what they work on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = write_tiny_dataset(folder / "data", train=8, val=4)
        self.checkpoint = write_untrained(folder / "best.pt")
        self.bundle = write_bright_cell_bundle(folder / "bundle")
        self.store = folder / "store"
        self.recipe = folder / "tiny.toml"
        self.recipe.write_text(RECIPE, encoding="utf-8")
        self.record = folder / "rolls.db"
        self.article = folder / "article"
        self.learning = folder / "learning.toml"
        self.learning.write_text(LEARNING, encoding="utf-8")
        self.paths = {
            "bundle": self.bundle, "clean": f"loom:defects_per_m=0,length_m=0.96,{CLOTH}",
            "roll": f"loom:defects_per_m=4,length_m=1.2,{CLOTH}",
            "data": self.data, "images": self.data / "images" / "train", "checkpoint": self.checkpoint,
            "recipe": self.recipe, "record": self.record,
        }  # fmt: skip
        other = write_bright_cell_bundle(folder / "other-bundle", geometry=Tiles(overlap_px=8))
        for bundle in (other, self.bundle):
            self._made(["bundle", "install", str(bundle), str(self.store)])
        camera = "loom:width_px=256,bed_left_mm=2,bed_right_mm=2,length_m=1,mean_grey=120,seed=7"
        made = ["edge-run", "--camera", camera, "--model", str(self.bundle), "--threads", "1"]
        self._made([*made, "--roll-record", str(self.record)])
        self._made([*teach_arguments(self), "--out", str(self.article)])
        self.key = folder / "key"
        self.document = folder / "roll.json"
        self._made(["bundle", "key", "new", str(self.key)])
        self._made(["roll", "export", str(self.record), "--format", "json", "--out", str(self.document)])

    def _made(self, arguments: list[str]) -> None:
        log = self.folder / "made.log"
        if code := in_peace(arguments, log):
            raise RuntimeError(f"{shlex.join(arguments)}: exit code {code}: {last_line(log)}")


@dataclass(frozen=True)
class Job:
    """A command that writes.

    Attributes:
        arguments: of `loomsight`, given the folder of one try.
        again: those that go on after a kill; None for the same ones.
        check: raises if what stands in the folder is not whole; returns whether the result is there.
        needs_free_name: the command refuses a result that stands, or takes it back: it is not run again.
        prepare: makes what a try begins with.
    """

    arguments: Callable[[Place, Path], list[str]]
    check: Callable[[Place, Path], bool]
    again: Callable[[Place, Path], list[str]] | None = None
    needs_free_name: bool = True
    prepare: Callable[[Place, Path], object] | None = None


def is_whole_data_set(folder: Path) -> bool:
    """Load a data set and decode all its images; False if there is none."""
    if not folder.exists():
        return False
    data = load_dataset(folder, CLASSES)
    for image in (*data.train, *data.val):
        if cv2.imread(str(image.path)) is None:
            raise AssertionError(f"{image.path} is damaged")
    return True


def is_whole_bundle(folder: Path) -> bool:
    """Check every digest of a bundle; False if there is none."""
    if not folder.exists():
        return False
    open_bundle(folder)
    return True


def is_whole_article(folder: Path) -> bool:
    """Check every digest of an article file; False if there is none."""
    if not folder.exists():
        return False
    open_article(folder)
    return True


def is_taught_again(place: Place, folder: Path) -> bool:
    """See that an article file is there at any moment, whole, and whether it is the one that came last."""
    older, now = open_article(place.article), open_article(folder)
    return older.manifest.created_utc != now.manifest.created_utc


def store_is_whole(store: Path) -> bool:
    """See that a store has a current bundle that can be opened, if it has any."""
    if not (store / "store.json").exists():
        return False
    open_bundle(bundle_path(store))
    return True


def is_rolled_back(place: Place, store: Path) -> bool:
    """See that both bundles of a store are whole, and whether the current one is the one before."""
    before, now = read_state(place.store), read_state(store)
    for bundle in (now.current, now.previous):
        open_bundle(store / "bundles" / str(bundle))
    if {now.current, now.previous} != {before.current, before.previous}:
        raise AssertionError(f"the store has forgotten a bundle: {now}")
    return now.current == before.previous


def is_signed(folder: Path) -> bool:
    """See that a bundle is whole and its signature, where there is one, too."""
    if not open_bundle(folder):
        return False
    return signer_of(folder) is not None


def has_its_user(file: Path) -> bool:
    """See that the list of users can be read, and whether the user is in it."""
    return file.exists() and [user.name for user in read_users(file).users] == ["anna"]


def is_imported(place: Place, record: Path) -> bool:
    """See that a roll is in a record with all its defects, or not at all."""
    if not record.exists():
        return False
    with closing(sqlite3.connect(record)) as db:
        if db.execute("PRAGMA integrity_check").fetchone() != ("ok",):
            raise AssertionError("the record is damaged")
        if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'defects'").fetchone():
            return False
        rolls, defects = (
            db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("rolls", "defects")
        )
    expected = len(json.loads(place.document.read_text(encoding="utf-8"))["defects"])
    if (rolls, defects) not in ((0, 0), (1, expected)):
        raise AssertionError(f"{rolls} rolls with {defects} defects, not {expected}")
    return bool(rolls)


def is_the_report(file: Path) -> bool:
    """See that a report, where it has its name, ends as a report ends."""
    if not file.exists():
        return False
    if not file.read_text(encoding="utf-8").rstrip().endswith("</html>"):
        raise AssertionError("half a report stands under its name")
    return True


def is_the_export(file: Path) -> bool:
    """See that an exported table, where it has its name, ends with a whole line."""
    if not file.exists():
        return False
    if not file.read_bytes().endswith(b"\n"):
        raise AssertionError("half a table stands under its name")
    return True


def run_is_done(folder: Path) -> bool:
    """Read the checkpoints of a run folder; True if its last word is written."""
    for file in folder.rglob("*.pt"):
        if not file.name.startswith("."):
            read_checkpoint(file)
    return (folder / "metrics.json").is_file() and bool(json.loads((folder / "metrics.json").read_text()))


def round_is_whole(job: Path) -> bool:
    """See that the data set of a round of pseudo-labels is whole, if it has its name."""
    return is_whole_data_set(job / "rounds" / "1" / "dataset")


def simple(command: str, out: str, *, check: Callable[[Path], bool], replaces: bool = False) -> Job:
    """Return a job of a command that is simply run again."""
    return Job(
        lambda place, folder: [*command.format(**place.paths).split(), "--out", str(folder / out)],
        lambda place, folder: check(folder / out),
        needs_free_name=not replaces,
    )


def resumed(command: str, out: str, *, check: Callable[[Path], bool]) -> Job:
    """Return a job of a command that goes on with --resume."""
    job = simple(command, out, check=check)
    return replace(job, again=lambda place, folder: [*job.arguments(place, folder), "--resume"])


SIMULATE = "simulate --images 4 --seed 3 --size-hw 128 128 --workers 1"
PRUNE = "prune {checkpoint} {data} --macs 0.5 --recover labels --recipe {recipe} --epochs 1 --threads 1"
PSEUDO_LABEL = "pseudo-label {images} --reviewed {data} --detector {checkpoint} --device cpu"

USER_ADD = "user add anna --role engineer --users"
TEACH = "teach --article twill --model {bundle} --camera {clean} --false-alarms-per-100m 100 --threads 1"
AUTO_TEACH = "edge-run --article twill --model {bundle} --camera {roll} --threads 1"


def teach_arguments(place: Place) -> list[str]:
    """Return the arguments of `teach`, but for where to."""
    return TEACH.format(**place.paths).split()


JOBS: dict[str, Job] = {
    "simulate": simple(SIMULATE, "out", check=is_whole_data_set),
    "labels convert": simple("labels convert {data} --to dataset", "out", check=is_whole_data_set),
    "labels flip": simple("labels flip {data}", "out", check=is_whole_data_set),
    "bundle install": Job(
        lambda place, folder: ["bundle", "install", str(place.bundle), str(folder / "store")],
        lambda place, folder: store_is_whole(folder / "store"),
        needs_free_name=False,
    ),
    "bundle rollback": Job(
        lambda place, folder: ["bundle", "rollback", str(folder / "store")],
        lambda place, folder: is_rolled_back(place, folder / "store"),
        prepare=lambda place, folder: shutil.copytree(place.store, folder / "store"),
    ),
    "bundle sign": Job(
        lambda place, folder: ["bundle", "sign", str(folder / "bundle"), "--key", str(place.key)],
        lambda place, folder: is_signed(folder / "bundle"),
        needs_free_name=False,
        prepare=lambda place, folder: shutil.copytree(place.bundle, folder / "bundle"),
    ),
    "user add": Job(
        lambda place, folder: [
            *["user", "add", "anna", "--role", "engineer", "--users"],
            str(folder / "users.json"),
        ],
        lambda place, folder: has_its_user(folder / "users.json"),
    ),
    "roll import": Job(
        lambda place, folder: ["roll", "import", str(place.document), "--record", str(folder / "r.db")],
        lambda place, folder: is_imported(place, folder / "r.db"),
        needs_free_name=False,
    ),
    "roll report": simple("roll report {record}", "report.html", check=is_the_report, replaces=True),
    "roll export": simple("roll export {record}", "defects.csv", check=is_the_export, replaces=True),
    "teach": simple(TEACH, "article", check=is_whole_article),
    "teach again": Job(
        lambda place, folder: [*teach_arguments(place), "--overwrite", "--out", str(folder / "article")],
        lambda place, folder: is_taught_again(place, folder / "article"),
        needs_free_name=False,
        prepare=lambda place, folder: shutil.copytree(place.article, folder / "article"),
    ),
    "edge-run --auto-teach": Job(
        lambda place, folder: [
            *AUTO_TEACH.format(**place.paths).split(),
            "--config",
            str(place.learning),
            "--auto-teach",
            str(folder / "articles"),
        ],
        lambda place, folder: is_whole_article(folder / "articles" / "twill"),
        needs_free_name=False,
    ),
    "export": simple("export {checkpoint} --images {images}", "out", check=is_whole_bundle),
    "distill": resumed("distill {data} --recipe {recipe}", "run", check=run_is_done),
    "prune": resumed(PRUNE, "run", check=run_is_done),
    "pseudo-label": resumed(PSEUDO_LABEL, "job", check=round_is_whole),
}
