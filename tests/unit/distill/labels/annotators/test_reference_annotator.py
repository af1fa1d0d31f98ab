"""The reference model as an annotator of `pseudo-label`, through the command, on simulated cloth."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from distill.commands import pseudo_label_cli as cli
from distill.data.dataset import load_dataset
from distill.labels.annotators.reference_annotator import ReferenceAnnotator, ReferenceSettings
from distill.labels.formats.registry import read_labels
from distill.labels.review.choices import Choice
from distill.labels.review.log import ReviewLog
from distill.labels.review.session import Session
from edge.cameras.loom import LoomCamera, parse_loom_options
from edge.commands.teach_cli import app as teach_app
from edge.core.errors import ConfigError, DatasetError, ModelError
from edge.core.taxonomy import load_taxonomy
from tests.conftest import write_bright_cell_bundle
from tests.processes import loomsight

SIDE_PX = 320
CLOTH = f"weave=plain,warp_pitch_px=5,weft_pitch_px=5,mean_grey=70,width_px={SIDE_PX}"
OWN = ReferenceSettings(own_level=8.0)
HOLES = {2: (150, 170), 5: (90, 220)}


@pytest.fixture(scope="module")
def cloth():
    options = parse_loom_options(
        f"loom:seed=3,defects_per_m=0,lines_per_block={SIDE_PX},bed_left_mm=-20,bed_right_mm=-20,{CLOTH}"
    )
    with LoomCamera(options) as camera:
        return [camera.read().image for _ in range(28)]


@pytest.fixture(scope="module")
def images(cloth):
    found = [image.copy() for image in cloth[:8]]
    for number, centre in HOLES.items():
        cv2.circle(found[number], centre, 9, 12, -1)
    return found


@pytest.fixture(scope="module")
def image_folder(images, tmp_path_factory):
    """A folder of unlabelled images: two show a hole."""
    folder = tmp_path_factory.mktemp("new")
    for number, image in enumerate(images):
        cv2.imwrite(str(folder / f"roll{number // 4}_{number}.png"), image)
    return folder


@pytest.fixture(scope="module")
def article(cloth, tmp_path_factory):
    """An article file, taught by the command on other images of the cloth."""
    folder, out = tmp_path_factory.mktemp("clean"), tmp_path_factory.mktemp("article") / "plain"
    for number, image in enumerate(cloth[8:]):
        cv2.imwrite(str(folder / f"{number}.png"), image)
    bundle = write_bright_cell_bundle(out.parent / "bundle")
    flags = ["--article", "plain 5", "--model", bundle, "--camera", folder, "--out", out]
    done = CliRunner().invoke(teach_app, list(map(str, [*flags, "--false-alarms-per-image", 0.2])))
    assert done.exit_code == 0, done.output
    return out


def label(image_folder, out, *arguments):
    done = CliRunner().invoke(cli.app, [str(image_folder), "--out", str(out), *map(str, arguments)])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def box_around(number):
    x, y = HOLES[number]
    return x - 9, y - 9, x + 9, y + 9


def covers(box, other):
    return (
        box[0] <= other[0] + 6
        and box[1] <= other[1] + 6
        and box[2] >= other[2] - 6
        and box[3] >= other[3] - 6
    )


@pytest.mark.parametrize("way", ["self", "article"])
def test_what_only_the_reference_sees_waits_for_review_and_is_trained_on_when_a_person_names_it(
    image_folder, article, tmp_path, way
):
    split = ("--group", r"^(?P<group>roll[0-9])_", "--split", "train=0.5,val=0.5")
    how = ("--reference", article)
    if way == "self":
        settings = tmp_path / "engine.toml"
        own = 'kind = "reference"\nmodel = "self"\nsettings = {own_level = 8.0}\n'
        settings.write_text(f"[[annotators]]\n{own}")
        how = ("--settings", settings)
    printed = label(image_folder, tmp_path / "job", *how, *split)
    dataset = tmp_path / "job" / "rounds" / "1" / "dataset"
    assert f"review    loomsight review {dataset}" in printed
    report = json.loads((dataset.parent / "report.json").read_text())
    assert (report["accepted"], report["names_not_in_the_taxonomy"]) == ({}, {})
    assert report["queued"] == {"unclassified": 2}
    waiting = {
        int(image.file_name[-5]): image.regions for image in read_labels(dataset, load_taxonomy()).images
    }
    for number, regions in waiting.items():
        assert len(regions) == (number in HOLES)
        for region in regions:
            assert (region.label, region.review, region.annotator) == (
                "unclassified",
                "queued",
                "reference",
            )
            assert covers(region.box_xyxy_px, box_around(number))
    before = load_dataset(dataset, load_taxonomy())
    assert sum(len(one.class_ids) for one in (*before.train, *before.val)) == 0
    assert len(before.train) + len(before.val) == 6  # the two that wait are not taken for clean cloth

    with ReviewLog(dataset) as log:
        session = Session(dataset, log, load_taxonomy())
        for name in session.order("queued"):
            with pytest.raises(DatasetError, match="It is unclassified"):
                session.decide(Choice(image_name=name, version=0, action="accept"))
            session.decide(Choice(image_name=name, version=0, action="relabel", label="broken"))
        session.finish()
    after = load_dataset(dataset, load_taxonomy())
    named = [
        load_taxonomy().classes[int(one)]
        for split in (after.train, after.val)
        for p in split
        for one in p.class_ids
    ]
    assert named == ["broken"] * 2


NAMER = """
import numpy as np
from distill.labels.sets.annotations import Region

class Namer:
    name = ""

    def annotate(self, images):
        hole = Region("broken", (141.0, 161.0, 159.0, 179.0), score=0.9)  # one of the two
        return [(hole,) if image[165:175, 145:155].mean() < 30 else () for image in images]

def annotator(taxonomy, settings):
    return Namer()
"""


def test_beside_another_annotator_what_it_names_has_its_class_and_the_rest_waits(
    image_folder, tmp_path, monkeypatch
):
    (tmp_path / "namer_of_holes.py").write_text(NAMER)
    monkeypatch.syspath_prepend(tmp_path)
    settings = tmp_path / "engine.toml"
    settings.write_text(
        '[[annotators]]\nkind = "python"\nname = "namer"\nmodel = "namer_of_holes:annotator"\n'
        '[[annotators]]\nkind = "reference"\nmodel = "self"\nsettings = {own_level = 8.0}\n'
        "[band]\naccept = 0.7\nreject = 0.3\n"
    )
    label(image_folder, tmp_path / "job", "--settings", settings)
    read = read_labels(tmp_path / "job" / "rounds" / "1" / "dataset", load_taxonomy())
    found = {int(image.file_name[-5]): image.regions for image in read.images if image.regions}
    ((named,), (waiting,)) = found[2], found[5]
    assert (named.label, named.review, named.annotator) == ("broken", "unreviewed", "namer+reference")
    assert (waiting.label, waiting.review) == ("unclassified", "queued")
    assert set(found) == {2, 5}


def test_an_image_is_answered_alike_whichever_others_are_given_with_it(images):
    asked = ReferenceAnnotator("self", mm_per_px=0.2, settings=OWN, name="reference")
    together = asked.annotate(images)
    assert [asked.annotate([image])[0] for image in reversed(images)] == together[::-1]
    assert [len(regions) for regions in together] == [number in HOLES for number in range(8)]


def test_a_folder_that_is_no_article_file_is_one_line(image_folder, tmp_path):
    with pytest.raises(ModelError, match=r"article\.json"):
        label(image_folder, tmp_path / "job", "--reference", tmp_path / "none")
    assert not (tmp_path / "job" / "answers").exists()


def test_an_article_of_a_known_scale_needs_that_of_the_images_and_the_other_way_round(article):
    with pytest.raises(ConfigError, match=r"The scale of the images is known.*Leave --mm-per-px out"):
        ReferenceAnnotator(str(article), mm_per_px=0.2, settings=ReferenceSettings(), name="reference")


def test_images_with_too_little_cloth_are_said_once_with_their_number(caplog):
    asked = ReferenceAnnotator("self", mm_per_px=None, settings=ReferenceSettings(), name="reference")
    noise = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
    assert asked.annotate([noise, np.full((20, 900), 90, np.uint8)]) == [(), ()]
    assert caplog.text == ""
    asked.say_at_end()
    assert "reference: too little cloth in 2 of 2 images; nothing is proposed there" in caplog.text
    caplog.clear()
    asked.say_at_end()  # nothing was looked at since
    assert caplog.text == ""


def test_what_holds_for_many_images_is_printed_once_with_their_number(tmp_path):
    """Grain that grows in the halved image is what cloth is recognised by."""
    folder, rng = tmp_path / "images", np.random.default_rng(0)
    folder.mkdir()
    for number in range(5):
        grain = cv2.GaussianBlur(rng.normal(0, 120, (SIDE_PX, SIDE_PX)), (0, 0), 1.5)
        image = np.clip(110 + grain, 0, 255) if number else np.full((SIDE_PX, SIDE_PX), 110)
        cv2.imwrite(str(folder / f"{number}.png"), image)
    done = loomsight("pseudo-label", folder, "--reference", "self", "--out", tmp_path / "job")
    assert done.returncode == 0, done.stderr
    logged = [line for line in done.stderr.splitlines() if "INFO " in line or "WARNING " in line]
    assert len(logged) == len(set(logged)), done.stderr
    (line,) = [line for line in logged if "cloth is recognised" in line]
    assert line.endswith(
        "reference: the cloth is recognised in 4 of 5 images; what lies off it is left out"
    )
