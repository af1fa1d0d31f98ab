from __future__ import annotations

import json

import numpy as np
import pytest

from distill.labels.formats.registry import read_labels
from distill.labels.sam.examples import digest_of, examples_of, masks_of_labels
from distill.labels.sam.masks import TrueMask, overlap
from distill.labels.sets.annotations import AnnotatedImage, LabelSet, Region
from edge.core.errors import DatasetError
from edge.core.taxonomy import load_taxonomy
from edge.dataset.image import draw_image
from edge.dataset.options import DatasetOptions
from edge.dataset.writing import write_dataset
from tests.unit.distill.labels.sam.sets import CLASSES, ellipse_set

TAXONOMY = load_taxonomy()
TRIANGLE = ((2.0, 2.0), (30.0, 2.0), (2.0, 30.0))


def test_masks_of_the_simulator_are_read_as_they_were_planted(tmp_path):
    options = DatasetOptions(images=3, size_hw=(160, 160), defect_share=1.0, workers=1, seed=4,
                             categories=("hole", "broken yarn"))  # fmt: skip
    write_dataset(tmp_path / "set", options)
    label_set = read_labels(tmp_path / "set", TAXONOMY)
    masks, problems = masks_of_labels(label_set, tmp_path / "set")
    assert problems == {}
    for index in range(3):
        ground_truth = draw_image(options, TAXONOMY, index).defects
        name = next(image.file_name for image in label_set.images if f"{index:06d}" in image.file_name)
        read = masks[name]
        assert [mask.box_xyxy_px for mask in read] == [
            tuple(map(float, d.box_xyxy_px)) for d in ground_truth
        ]
        assert all((mask.mask == d.mask).all() for mask, d in zip(read, ground_truth, strict=True))


def test_outlines_of_a_data_set_folder_become_masks(tmp_path):
    source = ellipse_set(tmp_path)
    label_set = read_labels(source, TAXONOMY)
    masks, problems = masks_of_labels(label_set, source)
    assert problems == {}
    assert len(masks) == 9
    examples = examples_of(label_set, masks, "train", None)
    assert len(examples) == 6
    assert examples[0].file.is_file()


def drawn(*regions, split="train"):
    return LabelSet(None, CLASSES, (AnnotatedImage("a.png", (40, 40), regions, split=split),))


def test_what_was_rejected_or_waits_is_not_taught(tmp_path):
    regions = [
        Region("drop", (2.0, 2.0, 30.0, 30.0), TRIANGLE, review=review)
        for review in ("accepted", "rejected", "queued", "corrected", "unreviewed")
    ]
    masks, _ = masks_of_labels(drawn(*regions), tmp_path)
    assert len(masks["a.png"]) == 3


def test_boxes_without_outlines_give_no_example(tmp_path):
    label_set = drawn(Region("drop", (2.0, 2.0, 30.0, 30.0)))
    label_set = LabelSet(tmp_path, CLASSES, label_set.images)
    masks, _ = masks_of_labels(label_set, tmp_path)
    with pytest.raises(DatasetError, match="no outlines in the split 'train'"):
        examples_of(label_set, masks, "train", None)


def coco_with(tmp_path, *segmentations):
    rows = [
        {"id": n, "image_id": 1, "category_id": 2, "bbox": [1, 1, 5, 5], "segmentation": segmentation}
        for n, segmentation in enumerate(segmentations)
    ]
    content = {
        "images": [{"id": 1, "file_name": "a.png", "height": 20, "width": 30}],
        "categories": [{"id": 2, "name": "drop"}],
        "annotations": rows,
    }
    file = tmp_path / "labels.json"
    file.write_text(json.dumps(content))
    return file


def test_two_pieces_are_one_mask(tmp_path):
    file = coco_with(tmp_path, [[1, 1, 6, 1, 6, 6, 1, 6], [10, 1, 16, 1, 16, 6, 10, 6]])
    masks, _ = masks_of_labels(read_labels(file, TAXONOMY), file)
    (mask,) = masks["a.png"]
    expected = np.zeros((20, 30), np.uint8)
    expected[1:6, 1:6] = expected[1:6, 10:16] = 1
    assert overlap(mask.within(0, 0, (20, 30)), expected) == 1


@pytest.mark.parametrize(
    ("segmentation", "said"),
    [
        ({"size": [20, 30], "counts": "abc"}, "compressed"),
        ({"size": [20, 30], "counts": [5, 5]}, "add up"),
        ([[1, 2, 3]], "three corners"),
    ],
    ids=["compressed", "too short", "two corners"],
)
def test_a_mask_that_cannot_be_read_is_named_and_the_rest_goes_on(tmp_path, segmentation, said):
    file = coco_with(tmp_path, segmentation, [[1, 1, 6, 1, 6, 6, 1, 6]])
    masks, problems = masks_of_labels(read_labels(file, TAXONOMY), file)
    assert len(masks["a.png"]) == 1
    assert said in " ".join(problems.values())


def test_windows_part_the_things_of_an_image(tmp_path):
    one = TrueMask(5, 5, np.ones((4, 4), np.uint8))
    two = TrueMask(300, 5, np.ones((4, 4), np.uint8))
    label_set = LabelSet(tmp_path, CLASSES, (AnnotatedImage("a.png", (64, 400), split="train"),))
    examples = examples_of(label_set, {"a.png": [one, two]}, "train", 64)
    assert [len(example.masks) for example in examples] == [1, 1]
    whole = examples_of(label_set, {"a.png": [one, two]}, "train", None)
    assert [len(example.masks) for example in whole] == [2]
    assert digest_of(examples) != digest_of(whole)
