from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from distill.commands.sam_cli import app
from distill.labels.formats.coco import read
from distill.labels.sam.loading import load_sam
from edge.core.errors import LoomsightError
from tests.unit.distill.labels.sam.sets import ellipse_set, without_outlines

ANYTHING = "least_area_share = 0.0\nleast_side_share = 0.0\nmost_area_share = 1e6\n"


@pytest.fixture
def run():
    def invoke(*arguments):
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if result.exception and isinstance(result.exception, LoomsightError):
            raise result.exception
        return result

    return invoke


@pytest.fixture(scope="module")
def labels(tmp_path_factory):
    return ellipse_set(tmp_path_factory.mktemp("sam_cli"))


def coco_of(labels, file):
    from distill.labels.formats.coco import write
    from distill.labels.formats.yolo import read as read_dataset

    write(read_dataset(labels), file)
    return file


def test_finetune_and_resume(run, base, labels, tmp_path):
    out = tmp_path / "run"
    result = run("finetune", base, labels, "--out", out, "--epochs", 1, "--batch", 3)
    assert result.exit_code == 0, result.output
    assert "validation IoU" in result.output
    assert load_sam(str(out / "model"))
    assert json.loads((out / "settings.json").read_text())["batch"] == 3
    again = run("finetune", base, labels, "--out", out, "--resume")
    assert again.exit_code == 0, again.output
    with pytest.raises(LoomsightError, match="holds a training run already"):
        run("finetune", base, labels, "--out", out, "--epochs", 1)
    with pytest.raises(LoomsightError, match="started with other settings"):
        run("finetune", base, labels, "--out", out, "--resume", "--epochs", 7)


def test_refine_writes_the_same_set_with_outlines(run, base, labels, tmp_path):
    source = without_outlines(coco_of(labels, tmp_path / "boxes.json"))
    settings = tmp_path / "settings.toml"
    settings.write_text(ANYTHING)
    out = tmp_path / "outlined.json"
    result = run("refine", base, source, "--out", out, "--settings", settings)
    assert result.exit_code == 0, result.output
    before, after = read(source), read(out)
    assert [image.file_name for image in after.images] == [image.file_name for image in before.images]
    regions = [region for image in after.images for region in image.regions]
    outlined = [region for region in regions if region.polygon_xy_px]
    assert len(regions) == 9
    assert f"{len(outlined)} of 9 boxes with an outline now" in result.output
    assert {region.annotator for region in regions} == {"labelimg"}


def test_an_image_that_cannot_be_read_stays_and_the_rest_goes_on(run, base, labels, tmp_path):
    content = json.loads(coco_of(labels, tmp_path / "boxes.json").read_text())
    first = content["images"][0]["file_name"]
    content["images"][0]["file_name"] = "missing.png"
    (tmp_path / "some.json").write_text(json.dumps(content))
    without_outlines(tmp_path / "some.json")
    result = run("refine", base, tmp_path / "some.json", "--out", tmp_path / "out.json")
    assert result.exit_code == 0, result.output
    assert "missing.png" in result.stderr
    assert first not in result.stderr
    assert (tmp_path / "out.json").is_file()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["refine", "BASE", "LABELS", "--out", "LABELS"], "exists"),
        (["refine", "BASE", "nowhere", "--out", "OUT"], "There is no nowhere"),
        (["refine", "nowhere/at/all", "LABELS", "--out", "OUT"], "There is no folder"),
        (["refine", "BASE", "LABELS", "--out", "OUT", "--window-px", "3"], "window_px = 3"),
        (["finetune", "BASE", "LABELS", "--out", "OUT", "--epochs", "0"], "epochs = 0"),
        (["finetune", "BASE", "LABELS", "--out", "OUT", "--resume"], "to go on from"),
    ],
    ids=["out exists", "no labels", "no model", "window", "epochs", "nothing to resume"],
)
def test_mistakes_are_said_on_one_line(run, base, labels, tmp_path, arguments, said):
    named = {"BASE": base, "LABELS": labels, "OUT": tmp_path / "out"}
    with pytest.raises(LoomsightError, match=said) as caught:
        run(*(named.get(argument, argument) for argument in arguments))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()
