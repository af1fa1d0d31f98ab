"""The documentation keeps its word: links, commands, flags, settings, defaults, exit codes, images."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from pydantic import BaseModel

import distill.commands.anchors_cli
import distill.commands.distill_cli
import distill.commands.gate_cli
import distill.commands.labels_cli
import distill.commands.prune_cli
import distill.commands.pseudo_label_cli
import distill.commands.review_cli
import distill.commands.sam_cli
import distill.commands.scorecard_cli
import distill.commands.teacher_cli
import edge.commands.agent_cli
import edge.commands.audit_cli
import edge.commands.bench_cli
import edge.commands.bundle_cli
import edge.commands.doctor_cli
import edge.commands.mqtt_cli
import edge.commands.office_cli
import edge.commands.opcua_cli
import edge.commands.roll_cli
import edge.commands.run_cli
import edge.commands.service_cli
import edge.commands.simulate_cli
import edge.commands.stop_cli
import edge.commands.teach_cli
import edge.commands.user_cli
import export.calib_cli
import export.cli
from distill.gid.terms import METHODS
from distill.labels.annotators.detector_annotator import DetectorSettings
from distill.labels.annotators.reference_annotator import ReferenceSettings
from distill.labels.engine.settings import EngineSettings
from distill.labels.florence.settings import AnnotationSettings, FinetuneSettings, LoraSettings
from distill.labels.formats.registry import READERS
from distill.labels.sam.settings import OutlineSettings, SamFinetuneSettings
from distill.labels.sets.sharing import SharingOptions
from distill.labels.zero_shot.settings import ZeroShotSettings
from distill.prune.settings import ROUNDINGS, AskedOptions, PruneSettings
from distill.settings.distillation import Distillation, TeacherRecipe
from distill.settings.feature_pretraining import FeaturePretraining
from distill.settings.recipe import Recipe
from distill.settings.tables import Augmentation, Pretraining, Sparsity
from edge.backends.registry import BACKENDS
from edge.bundle.manifest import BundleManifest
from edge.cameras.registry import CAMERAS as CAMERA_KINDS
from edge.cameras.registry import kind_of
from edge.commands.loomsight import all_commands
from edge.config.buyers import BuyerRules
from edge.config.device import CAMERAS, load_box
from edge.config.edge import EdgeConfig
from edge.config.machine import MachineSettings
from edge.config.mqtt import MqttSettings
from edge.config.opcua import OpcuaSettings
from edge.config.stop import StopRule, StopSettings
from edge.core import errors
from edge.core.contract import ModelContract
from edge.core.taxonomy import Taxonomy, load_taxonomy
from edge.dataset.options import DatasetOptions
from edge.decisions.stops import Stops
from edge.fleet.settings import OfficeSettings
from edge.health.metrics import metrics_text
from edge.health.state import Health
from edge.machine.delivery import StopDelivery
from edge.mqtt.messages import MESSAGES
from edge.mqtt.publisher import Publisher
from edge.pipeline.run_state import RunState
from edge.roll.outbox import Outbox
from edge.simulator.options import CATEGORIES, LoomOptions, parse_loom_options

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
LARGEST_IMAGE_BYTES = 500_000

APPS = {
    "simulate": edge.commands.simulate_cli.app,
    "labels": distill.commands.labels_cli.app,
    "pseudo-label": distill.commands.pseudo_label_cli.app,
    "review": distill.commands.review_cli.app,
    "sam": distill.commands.sam_cli.app,
    "teacher": distill.commands.teacher_cli.app,
    "anchors": distill.commands.anchors_cli.app,
    "distill": distill.commands.distill_cli.app,
    "prune": distill.commands.prune_cli.app,
    "gate": distill.commands.gate_cli.app,
    "scorecard": distill.commands.scorecard_cli.app,
    "export": export.cli.app,
    "calib": export.calib_cli.app,
    "bundle": edge.commands.bundle_cli.app,
    "agent": edge.commands.agent_cli.app,
    "teach": edge.commands.teach_cli.app,
    "edge-run": edge.commands.run_cli.app,
    "roll": edge.commands.roll_cli.app,
    "user": edge.commands.user_cli.app,
    "audit": edge.commands.audit_cli.app,
    "stop": edge.commands.stop_cli.app,
    "mqtt": edge.commands.mqtt_cli.app,
    "opcua": edge.commands.opcua_cli.app,
    "office": edge.commands.office_cli.app,
    "service": edge.commands.service_cli.app,
    "edge-bench": edge.commands.bench_cli.app,
    "edge-doctor": edge.commands.doctor_cli.app,
}
PAGES_OF_COMMAND = {
    "edge-run": ("edge-run", "settings"),
    "office": ("office", "releases", "retraining"),
    "roll": ("roll", "roll-report"),
    "teach": ("teach", "teach-train"),
    "teacher": ("teacher", "teacher-finetune"),
}
"""Pages that name the flags of a command, where that is more than its own."""

TOML_OF_PAGE = {
    "settings.md": EdgeConfig,
    "several-cameras.md": EdgeConfig,
    "stop.md": EdgeConfig,
    "machine.md": EdgeConfig,
    "grading.md": EdgeConfig,
    "buyers.md": EdgeConfig,
    "roll-report.md": EdgeConfig,
    "mqtt.md": EdgeConfig,
    "opcua.md": EdgeConfig,
    "office.md": OfficeSettings,
    "releases.md": OfficeSettings,
    "agent.md": EdgeConfig,
    "recipe.md": Recipe,
    "gid.md": Recipe,
    "sparsity.md": Recipe,
    "pretraining.md": Recipe,
    "feature-pretraining.md": Recipe,
    "detectors.md": Recipe,
    "preprocessing.md": Recipe,
    "page.md": EdgeConfig,
    "user.md": EdgeConfig,
    "signed-bundles.md": EdgeConfig,
    "teach.md": EdgeConfig,
    "teach-on-the-loom.md": EdgeConfig,
    "taxonomy.md": Taxonomy,
    "teacher-finetune.md": FinetuneSettings,
    "pseudo-label-settings.md": EngineSettings,
}


def name_of(page):
    return page.relative_to(ROOT).as_posix() if isinstance(page, Path) else str(page)


def text_of(page):
    return page.read_text(encoding="utf-8")


def blocks(page, language):
    """Return the fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text_of(page), re.MULTILINE | re.DOTALL)


def rows(page, columns):
    """Return the cells of every table row with at least so many columns."""
    lines = [line for line in text_of(page).splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in cells if len(row) >= columns]


def anchors(page):
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", text_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    prose = re.sub(r"^```.*?^```", "", text_of(page), flags=re.MULTILINE | re.DOTALL)
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    assert not broken


def flags_of(app):
    """Return the flags of a Typer application, of all its commands if it has several."""
    top = typer.main.get_command(app)
    commands = [top, *getattr(top, "commands", {}).values()]
    parameters = [parameter for command in commands for parameter in command.params]
    flags = {flag for parameter in parameters for flag in (*parameter.opts, *parameter.secondary_opts)}
    return flags | {"--help"}


def words_of(line):
    """Split a command line; what follows # or a pipe is left out."""
    words = shlex.split(line, comments=True)
    return words[: words.index("|")] if "|" in words else words


def commands(page):
    """Yield (words) of each command line in the sh blocks of a page."""
    for block in blocks(page, "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            words = words_of(line)
            if words:
                yield [words[0].removeprefix(".venv/bin/"), *words[1:]]


def check_command(words):
    """Check one command line against what exists; other programs are none of our business."""
    if words[0] == "make":
        targets = set(re.findall(r"^([a-z-]+):", text_of(ROOT / "Makefile"), re.MULTILINE))
        assert set(words[1:]) <= targets, words
    elif words[0] == "python" and words[1].endswith(".py"):
        assert (ROOT / words[1]).is_file(), words
    elif words[0] == "loomsight" and words[1] not in {"--help", "--version"}:
        assert words[1] in all_commands(), words
        check_flags(words[1], words[2:])
    elif words[0] in APPS:
        check_flags(words[0], words[1:])


def check_flags(command, arguments):
    given = {word.split("=")[0] for word in arguments if word.startswith("-")}
    assert given <= flags_of(APPS[command]), (command, given - flags_of(APPS[command]))
    for word in arguments:
        if word.startswith("loom:"):
            parse_loom_options(word)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_and_flags_exist(page):
    for words in commands(page):
        check_command(words)


def test_every_command_is_shown_on_its_page():
    assert set(APPS) == set(all_commands())
    for command in all_commands():
        shown = [" ".join(words) for words in commands(DOCS / f"{command}.md")]
        assert any(line.removeprefix("loomsight ").startswith(command) for line in shown), command


@pytest.mark.parametrize("command", APPS)
def test_every_flag_is_named_on_its_page(command):
    pages = PAGES_OF_COMMAND.get(command, (command,))
    text = "\n".join(text_of(DOCS / f"{page}.md") for page in pages)
    spelled = {flag: flag.removeprefix("--").replace("-", "_") for flag in flags_of(APPS[command])}
    unnamed = [
        flag
        for flag, key in spelled.items()
        if flag.startswith("--") and flag != "--help" and f"`{flag}`" not in text and f"`{key}`" not in text
    ]
    assert not unnamed


def shown(value):
    """Return a default as the tables show it; None if it is not a plain value."""
    if isinstance(value, bool):
        return str(value).lower()
    if value is None or value in ((), {}):
        return "—"
    if isinstance(value, (int, float)):
        return f"{value:g}"
    if isinstance(value, tuple) and all(isinstance(part, int) for part in value):
        return ", ".join(str(part) for part in value)
    return value if isinstance(value, str) else None


def table_of(page):
    """Return key -> default of all tables whose first cell holds keys in backticks."""
    return {
        key: row[1]
        for row in rows(page, 3)
        for key in re.findall(r"`([a-z_0-9]+)`", row[0])
    }  # fmt: skip


@pytest.mark.parametrize(
    ("page", "model"),
    [
        ("settings.md", EdgeConfig),
        ("simulated-loom.md", LoomOptions),
        ("recipe.md", Recipe),
        ("recipe.md", Augmentation),
        ("pretraining.md", Pretraining),
        ("feature-pretraining.md", FeaturePretraining),
        ("sparsity.md", Sparsity),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_every_setting_and_its_default(page, model: type[BaseModel]):
    table = table_of(DOCS / page)
    assert set(model.model_fields) <= set(table)
    for key, field in model.model_fields.items():
        default = shown(field.default)
        assert default is None or table[key] == default, key


def table_of_section(page, begin, end):
    """Return `table_of` for the part of a page between two headings."""
    part = text_of(page).split(begin)[1].split(end)[0]
    pattern = re.compile(r"^\| `([a-z_0-9]+)` \| ([^|]+?) \|", re.MULTILINE)
    return dict(pattern.findall(part))


@pytest.mark.parametrize(
    ("page", "model", "begin", "end"),
    [
        ("teacher-finetune.md", FinetuneSettings, "## Settings", "Key in `[lora]`"),
        ("teacher-finetune.md", LoraSettings, "Key in `[lora]`", "## Where the defaults"),
        ("teacher.md", AnnotationSettings, "`--beams` in `ask`, too", "## ask"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_every_setting_of_the_teacher(page, model, begin, end):
    table = table_of_section(DOCS / page, begin, end)
    assert set(table) == set(model.model_fields)
    for key, field in model.model_fields.items():
        words = isinstance(field.default, tuple)
        default = ", ".join(field.default) if words else shown(field.default)
        assert default is None or table[key] == default, key


@pytest.mark.parametrize(
    ("page", "model", "begin", "end"),
    [
        ("annotators.md", ZeroShotSettings, "## Open-vocabulary", "## Detector"),
        ("annotators.md", DetectorSettings, "## Detector", "## Reference"),
        ("annotators.md", ReferenceSettings, "## Reference model", "## When"),
        ("sam.md", OutlineSettings, "## refine", "## finetune"),
        ("sam.md", SamFinetuneSettings, "### Settings of finetune", "## When"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_every_setting_of_an_annotator(page, model, begin, end):
    table = table_of_section(DOCS / page, begin, end)
    assert set(table) == set(model.model_fields)
    for key, field in model.model_fields.items():
        assert table[key] == shown(field.default), key


@pytest.mark.parametrize(
    ("page", "model", "begin", "end"),
    [
        ("stop.md", StopSettings, "Key in `[stop]`", "Key in `[stop.classes.NAME]`"),
        ("stop.md", StopRule, "Key in `[stop.classes.NAME]`", "## What is recorded"),
        ("machine.md", MachineSettings, "Key in `[machine]`", "## Several cameras"),
        ("mqtt.md", MqttSettings, "Key in `[mqtt]`", "## Topics"),
        ("buyers.md", BuyerRules, "Key in `[buyers.", "## Point systems"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_every_setting_of_what_leaves_the_box(page, model, begin, end):
    table = table_of_section(DOCS / page, begin, end)
    assert set(table) == set(model.model_fields)
    for key, field in model.model_fields.items():
        assert table[key] == shown(field.default), key


def test_every_setting_of_opcua():
    table = table_of_section(DOCS / "opcua.md", "Key in `[opcua]`", "## Users")
    assert set(table) == set(OpcuaSettings.model_fields)
    for key, field in OpcuaSettings.model_fields.items():
        words = isinstance(field.default, tuple)
        default = ", ".join(field.default) if words else shown(field.default)
        assert default is None or table[key] == default, key


def test_every_metric_is_named_on_its_page():
    health = Health(60.0, Stops(StopSettings(), ["broken"], StopDelivery(None, MachineSettings())))
    health.update(RunState(), [])
    health.publisher = Publisher(Outbox(Path("r.db")), MqttSettings(broker="mqtt://h"))
    names = {
        re.sub(r"_(bucket|sum|count|created)$", "", line.split("{")[0].split(" ")[0])
        for line in metrics_text({None: health}).decode().splitlines()
        if not line.startswith("#")
    }
    counted = ("detections", "defects", "stop_events", "camera_events", "helper_failures")
    empty = {f"loomsight_{name}_total" for name in counted}  # no sample before there is a label
    cells = (row[0].strip("`").split("{")[0] for row in rows(DOCS / "health.md", 3))
    assert names | empty == {cell for cell in cells if cell.startswith("loomsight_")}


def test_the_messages_of_the_page_keep_their_schema():
    (block,) = blocks(DOCS / "mqtt.md", "json")
    topics = ("defect", "stop", "gap", "verdict", "roll", "status")
    for topic, message in zip(topics, block.splitlines(), strict=True):
        assert set(json.loads(message)) == set(MESSAGES[topic].model_fields)
        MESSAGES[topic].model_validate_json(message)


@pytest.mark.parametrize(
    ("model", "begin", "end"),
    [
        (Distillation, "## Settings", "Key in `[teacher]`"),
        (TeacherRecipe, "Key in `[teacher]`", "## What it writes"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_every_setting_of_a_distillation(model, begin, end):
    table = table_of_section(DOCS / "gid.md", begin, end)
    assert set(table) == set(model.model_fields)
    for key, field in model.model_fields.items():
        assert table[key] == shown(field.default), key


def test_the_defaults_of_prune():
    table = {
        flag: row[1] for row in rows(DOCS / "prune.md", 3) for flag in re.findall(r"`--([\w-]+)`", row[0])
    }
    asked = {"planner": PruneSettings.model_fields["planner"], **AskedOptions.model_fields}
    for key, field in asked.items():
        assert field.default is None, key
        assert "compared" in table[key.replace("_", "-")], key
    assert table["round-to"] == f"compared: {' and '.join(map(str, ROUNDINGS))}"
    assert PruneSettings.model_fields["recover"].default is None
    assert table["recover"] == "teacher, else self"


def test_every_setting_of_a_data_set():
    cells = {key for row in rows(DOCS / "simulate.md", 5) for key in re.findall(r"`(\w+)`", row[1])}
    assert set(DatasetOptions.model_fields) == cells


def test_every_setting_of_labels():
    table = {
        flag: row[1] for row in rows(DOCS / "labels.md", 4) for flag in re.findall(r"`--([\w-]+)`", row[0])
    }
    for key, field in SharingOptions.model_fields.items():
        assert table[key.replace("_", "-")] == shown(field.default), key


@pytest.mark.parametrize("name", [*BACKENDS, "auto"])
def test_every_backend_has_a_row(name):
    assert f"`{name}`" in {row[0] for row in rows(DOCS / "backends.md", 2)}


@pytest.mark.parametrize("kind", CAMERA_KINDS.values(), ids=CAMERA_KINDS)
def test_every_kind_of_camera_has_a_row(kind):
    shown_as = {form for row in rows(DOCS / "cameras.md", 4) for form in re.findall(r"`([^`]*)`", row[0])}
    assert any(kind_of(form) is kind for form in shown_as)


def test_the_simulator_plants_what_its_page_says():
    (listed,) = re.findall(
        r"kinds are planted: ([^.]*)\.", text_of(DOCS / "simulate.md").replace("\n", " ")
    )
    assert listed.split(", ") == list(CATEGORIES)


@pytest.mark.parametrize("method", METHODS)
def test_every_term_of_a_distillation_is_named(method):
    text = text_of(DOCS / "gid.md")
    assert [term.name for term in METHODS[method] if f"`loss_{term.name}`" not in text] == []


def test_every_form_of_labels():
    table = {row[0].strip("`") for row in rows(DOCS / "label-formats.md", 4)}
    assert set(READERS) <= table


@pytest.mark.parametrize("model", [BundleManifest, ModelContract], ids=lambda model: model.__name__)
def test_every_field_of_a_bundle(model):
    text = text_of(DOCS / "bundle.md")
    assert [key for key in model.model_fields if f"`{key}`" not in text] == []


def test_the_table_of_exit_codes():
    table = {
        (int(row[0]), row[1])
        for row in rows(DOCS / "exit-codes.md", 4)
        if row[0].isdigit() and row[1]
    }  # fmt: skip
    family = errors.LoomsightError.__subclasses__()
    own = [error for error in family if error.__module__ == errors.__name__]
    assert table == {(error.exit_code, error.__name__) for error in own}
    assert len({error.exit_code for error in own}) == len(own)
    assert f"| {errors.INTERRUPTED_EXIT_CODE} |" in text_of(DOCS / "exit-codes.md")


def test_the_table_of_kinds():
    table = {tuple(row[:3]) for row in rows(DOCS / "taxonomy.md", 3)}
    kinds = {(kind.phrase, kind.category, kind.parent) for kind in load_taxonomy().kinds}
    assert kinds <= table
    assert len(table - kinds) == 1  # the heading


@pytest.mark.parametrize("page", TOML_OF_PAGE)
def test_toml_examples_are_valid(page, tmp_path):
    found = blocks(DOCS / page, "toml")
    assert found
    for block in found:
        if CAMERAS in tomllib.loads(block):
            (tmp_path / "box.toml").write_text(block)
            assert len(load_box(tmp_path / "box.toml", {}, {})) > 1
        else:
            TOML_OF_PAGE[page].model_validate(tomllib.loads(block))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_json_examples_are_json(page):
    for block in blocks(page, "json"):
        for line in block.splitlines():
            json.loads(line)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_extras_are_installed_by_what_works_from_a_clone(page):
    """Nothing is published: `pip install 'loomsight[mill]'` finds no such package."""
    text = page.read_text(encoding="utf-8")
    assert not re.findall(r"pip install '?loomsight", text)
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(re.findall(r"pip install '\.\[(\w+)\]'", text)) <= set(extras)


def test_images_are_small():
    suffixes = {".png", ".jpg", ".jpeg", ".gif", ".svg", ".webp"}
    images = [path for path in DOCS.rglob("*") if path.suffix.lower() in suffixes]
    assert images
    large = {path.name for path in images if path.stat().st_size >= LARGEST_IMAGE_BYTES}
    assert not large


def test_shipped_recipes_can_be_named():
    from distill.settings.recipe import SHIPPED_RECIPES, load_recipe

    files = {path.stem for path in (ROOT / "distill" / "recipes").glob("*.toml")}
    assert files == set(SHIPPED_RECIPES)
    for name in SHIPPED_RECIPES:
        load_recipe(name, {}, {})


def test_the_licence_of_every_weight_and_image_that_ships_is_named():
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    kinds = (".png", ".jpg", ".svg", ".onnx", ".pt")
    shipped = [
        name for name in listed.splitlines() if name.endswith(kinds) and not name.startswith("tests/")
    ]
    rows_of_licence = re.findall(r"^\| `([^`]+)`", text_of(DOCS / "licence.md"), re.MULTILINE)
    assert shipped
    assert [name for name in shipped if not name.startswith(tuple(rows_of_licence))] == []
    manifest = json.loads((ROOT / "calib_images" / "manifest.json").read_text())
    assert {one["licence"] for one in manifest["images"]} == {"AGPL-3.0-or-later, made by this project"}
