"""`simulate --on`: defects in images of clean cloth, with exact ground truth."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from edge.commands.simulate_cli import app as simulate_app
from edge.core.errors import CameraNotFoundError, ConfigError, NoImagesError
from edge.dataset.clean_folder import survey
from edge.dataset.options import DatasetOptions
from edge.simulator.options import WEAVES
from tests.unit.edge.dataset.clean_images import BED_PX, WARP_PX, WEFT_PX, clean_cloth, save

MARGIN_PX = 50
"""10 mm at 0.2 mm/px."""


def simulate(*words):
    done = CliRunner().invoke(simulate_app, [str(word) for word in words])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    images = {f"cloth-{seed}": clean_cloth(seed, colour=seed == 2) for seed in (0, 1, 2, 4)}
    return save(tmp_path_factory.mktemp("real") / "clean", **images)


@pytest.fixture(scope="module")
def planted(clean, tmp_path_factory):
    out = tmp_path_factory.mktemp("planted") / "data"
    simulate("--out", out, "--on", clean, "--images", 24, "--size-hw", 192, 384, "--defects-per-m", 25,
             "--split", "train=0.75,val=0.25")  # fmt: skip
    return out


def entries(folder):
    for split in ("train", "val"):
        coco = json.loads((folder / "annotations" / f"{split}.json").read_text())
        for entry in coco["images"]:
            yield split, entry, [one for one in coco["annotations"] if one["image_id"] == entry["id"]]


def mask_of(annotation):
    height, width = annotation["segmentation"]["size"]
    counts = annotation["segmentation"]["counts"]
    flat = np.repeat(np.arange(len(counts)) % 2, counts)
    return flat.reshape(width, height).T.astype(bool)


def before_and_after(clean, folder, entry):
    left, top = entry["corner_xy_px"]
    whole = cv2.imread(str(clean / entry["clean_image"]), cv2.IMREAD_UNCHANGED)
    whole = cv2.cvtColor(whole, cv2.COLOR_BGR2GRAY) if whole.ndim == 3 else whole
    after = cv2.imread(str(folder / entry["file_name"]), cv2.IMREAD_UNCHANGED)
    return whole[top : top + entry["height"], left : left + entry["width"]], after


def checked_defects(clean, folder):
    """See that only masks changed, that boxes are tight and something is in each; count them."""
    count = 0
    for _, entry, defects in entries(folder):
        before, after = before_and_after(clean, folder, entry)
        changed = before != after
        masks = [mask_of(one) for one in defects]
        assert not (changed & ~np.logical_or.reduce([np.zeros_like(changed), *masks])).any()
        for one, mask in zip(defects, masks, strict=True):
            x, y, width, height = one["bbox"]
            assert mask[y : y + height, x : x + width].sum() == mask.sum() == one["area"]
            for side in (mask[y], mask[y + height - 1], mask[:, x], mask[:, x + width - 1]):
                assert side.any()
            assert (changed & mask).sum() > 0.3 * mask.sum()
            count += 1
    return count


def test_only_what_lies_in_a_mask_changes_and_in_each_box_something_does(clean, planted):
    assert checked_defects(clean, planted) > 12


def test_the_woven_look_plants_its_defects_and_changes_nothing_else(clean, planted, tmp_path):
    simulate("--out", tmp_path / "woven", "--on", clean, "--images", 24, "--size-hw", 192, 384,
             "--look", "woven", "--defects-per-m", 25, "--split", "train=0.75,val=0.25")  # fmt: skip
    assert checked_defects(clean, tmp_path / "woven") > 12
    drawn, woven = (
        [before_and_after(clean, folder, entry)[1] for _, entry, _ in entries(folder)]
        for folder in (planted, tmp_path / "woven")
    )
    assert any(not np.array_equal(one, other) for one, other in zip(drawn, woven, strict=True))


def test_an_image_without_a_defect_is_the_clean_image_unchanged(clean, planted):
    without = [entry for _, entry, defects in entries(planted) if not defects]
    assert 0 < len(without) < 24
    for entry in without:
        before, after = before_and_after(clean, planted, entry)
        assert np.array_equal(before, after)


def test_nothing_is_planted_on_the_bed_or_the_selvedge(planted):
    lefts = [
        entry["corner_xy_px"][0] + one["bbox"][0]
        for _, entry, defects in entries(planted)
        for one in defects
    ]
    assert min(lefts) >= BED_PX + MARGIN_PX - 16
    assert min(entry["corner_xy_px"][0] for _, entry, _ in entries(planted)) < BED_PX


def test_splits_share_no_clean_image_and_each_is_used(planted):
    used = {split: set() for split in ("train", "val")}
    for split, entry, _ in entries(planted):
        used[split].add(entry["clean_image"])
    assert not used["train"] & used["val"]
    assert len(used["train"] | used["val"]) == 4


def test_the_data_set_has_the_form_of_a_woven_one(clean, planted):
    made = json.loads((planted / "simulation.json").read_text())
    assert made["options"]["on"] == str(clean)
    assert DatasetOptions.model_validate(made["options"]).on == clean
    assert made["clean_images"]["images"] == 4
    assert made["clean_images"]["warp_pitch_px"] == pytest.approx(WARP_PX, abs=0.5)
    assert made["clean_images"]["weft_pitch_px"] == pytest.approx(WEFT_PX, abs=0.5)
    assert len(list((planted / "labels/train").iterdir())) == 18


def test_the_same_options_give_the_same_files_with_two_processes(clean, planted, tmp_path):
    simulate("--out", tmp_path / "again", "--on", clean, "--images", 24, "--size-hw", 192, 384,
             "--defects-per-m", 25, "--split", "train=0.75,val=0.25", "--workers", 2)  # fmt: skip
    for file in (one for one in planted.rglob("*") if one.is_file()):
        assert (tmp_path / "again" / file.relative_to(planted)).read_bytes() == file.read_bytes()


def test_colour_stays_colour_where_it_is_asked_for(clean, tmp_path):
    simulate("--out", tmp_path / "data", "--on", clean, "--images", 6, "--size-hw", 192, 384, "--colour",
             "--defects-per-m", 25, "--split", "train=1")  # fmt: skip
    for file in sorted((tmp_path / "data/images/train").iterdir()):
        assert cv2.imread(str(file), cv2.IMREAD_UNCHANGED).shape == (192, 384, 3)


@pytest.mark.parametrize("weave", WEAVES)
@pytest.mark.parametrize("seed", range(4))
def test_the_pitch_of_a_cloth_is_found_within_half_a_pixel(weave, seed, tmp_path):
    from edge.simulator.loom import Loom
    from edge.simulator.options import LoomOptions

    loom = Loom(LoomOptions(seed=50 + seed, width_px=512, weave=weave, defects_per_m=0, bed_left_mm=-30))
    save(tmp_path / "one", cloth=loom.render(0, 256))
    (image,) = survey(tmp_path / "one", DatasetOptions(size_hw=(128, 128))).images
    assert image.warp_pitch_px == pytest.approx(loom.style.warp_pitch_px, abs=0.5)
    assert image.weft_pitch_px == pytest.approx(loom.style.weft_pitch_px, abs=0.5)


def felt(seed=0):
    """Return cloth without yarns: soft specks of all directions."""
    noise = np.random.default_rng(seed).normal(0, 1, (256, 512)).astype(np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), 1.6)
    return np.clip(120 + 14 * soft / soft.std(), 0, 255).astype(np.uint8)


def test_cloth_without_yarns_takes_the_usual_pitch_and_says_so(tmp_path, caplog):
    folder = survey(save(tmp_path / "felt", felt=felt()), DatasetOptions(size_hw=(128, 128)))
    assert (folder.images[0].warp_pitch_px, folder.images[0].weft_pitch_px) == (5.0, 5.0)
    assert folder.without_pitch == 1
    assert "no regular yarns seen in 1 of 1 images" in caplog.text


def test_cloth_without_yarns_takes_the_pitch_of_the_others_or_the_one_that_is_set(tmp_path):
    place = save(tmp_path / "both", felt=felt(), woven=clean_cloth(1))
    options = DatasetOptions(size_hw=(128, 128))
    usual = survey(place, options).images[0]
    assert usual.warp_pitch_px == pytest.approx(WARP_PX, abs=0.5)
    given = survey(place, options.model_copy(update={"warp_pitch_px": 7.0, "weft_pitch_px": 6.0}))
    assert {(one.warp_pitch_px, one.weft_pitch_px) for one in given.images} == {(7.0, 6.0)}
    assert given.without_pitch == 0


def test_images_that_cannot_be_used_are_counted_and_said(tmp_path):
    place = save(
        tmp_path / "mixed",
        good=clean_cloth(1),
        small=clean_cloth(2)[:100],
        blank=np.full((256, 640), 90, np.uint8),
    )
    (place / "torn.png").write_bytes((place / "good.png").read_bytes()[:5000])
    done = simulate("--out", tmp_path / "data", "--on", place, "--images", 2, "--size-hw", 192, 256,
                    "--split", "train=1")  # fmt: skip
    made = json.loads((tmp_path / "data/simulation.json").read_text())
    reasons = {"unreadable": 1, "smaller than size_hw": 1, "without cloth": 1}
    assert made["clean_images"]["left_out"] == reasons
    assert "3 images left out: 1 without cloth, 1 smaller than size_hw, 1 unreadable" in done.stderr
    assert "torn.png" in done.stderr


def test_a_folder_that_gives_nothing_is_refused_and_leaves_nothing(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(NoImagesError, match="holds no images"):
        simulate("--out", tmp_path / "data", "--on", tmp_path / "empty")
    with pytest.raises(CameraNotFoundError, match="Cannot read the folder"):
        simulate("--out", tmp_path / "data", "--on", tmp_path / "nowhere")
    small = save(tmp_path / "small", one=clean_cloth(1)[:100], two=clean_cloth(2)[:100])
    with pytest.raises(NoImagesError, match=r"none of the 2 images .*: 2 smaller than size_hw.*--size-hw"):
        simulate("--out", tmp_path / "data", "--on", small)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    "flag",
    [
        ("--weave", "twill"),
        ("--mean-grey", 90),
        ("--article-share", 0.5),
        ("--look", "woven", "--pattern", "checks"),
    ],
)
def test_what_only_woven_cloth_has_is_refused(clean, tmp_path, flag):
    with pytest.raises(ConfigError, match="is of woven cloth"):
        simulate("--out", tmp_path / "data", "--on", clean, *flag)
