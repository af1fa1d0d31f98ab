from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from distill.labels.zero_shot.annotate import ZeroShotAnnotator, described_better
from distill.labels.zero_shot.grounding_dino import GroundingDinoQuery, scores_of_phrases
from distill.labels.zero_shot.loading import load_open_detector
from distill.labels.zero_shot.settings import ZeroShotSettings
from edge.core.errors import ConfigError
from edge.core.geometry import iou_matrix
from edge.core.taxonomy import DefectKind, Taxonomy, load_taxonomy
from tests.unit.distill.labels.zero_shot.small import write_grounding_dino

FAMILIES = ["grounding-dino", "owlv2", "owlvit"]
MILL = load_taxonomy()


@pytest.fixture(params=FAMILIES)
def detector(folders, request):
    return load_open_detector(str(folders[request.param]))


def annotator(detector, taxonomy=MILL, **changes):
    settings = {"score_threshold": 0.0, **changes}
    return ZeroShotAnnotator(detector, taxonomy, ZeroShotSettings(**settings))


def cloth(seed, size_hw=(60, 100)):
    return np.random.default_rng(seed).integers(0, 255, size_hw, dtype=np.uint8)


def rows(regions):
    return [
        (r.label, r.category, r.phrase, *(round(v, 2) for v in (*r.box_xyxy_px, r.score))) for r in regions
    ]


def test_every_region_has_a_whole_triple_and_lies_in_the_image(detector):
    (regions,) = annotator(detector).annotate([cloth(1)])
    triples = {(kind.parent, kind.category, kind.phrase) for kind in MILL.kinds}
    assert regions
    assert {(r.label, r.category, r.phrase) for r in regions} <= triples
    for region in regions:
        x1, y1, x2, y2 = region.box_xyxy_px
        assert 0 <= x1 < x2 <= 100
        assert 0 <= y1 < y2 <= 60
        assert 0 <= region.score <= 1
        assert region.annotator == "zero-shot"
    assert [r.score for r in regions] == sorted((r.score for r in regions), reverse=True)


@pytest.mark.parametrize("batch", [1, 8])
def test_an_answer_does_not_depend_on_its_neighbours(detector, batch):
    images = [cloth(1), cloth(2, (40, 100)), cloth(3), np.dstack([cloth(4)] * 3)]
    together = annotator(detector, batch=batch).annotate(images)
    alone = [annotator(detector).annotate([image])[0] for image in images]
    assert [rows(regions) for regions in together] == [rows(regions) for regions in alone]
    assert annotator(detector).annotate([]) == []


def test_grey_and_colour_of_the_same_image_give_the_same(detector):
    grey, colour = annotator(detector).annotate([cloth(5), np.dstack([cloth(5)] * 3)])
    assert rows(grey) == rows(colour)


def test_a_threshold_keeps_what_reaches_it(detector):
    everything = annotator(detector, iou_threshold=1.0).annotate([cloth(6)])[0]
    middle = sorted(region.score for region in everything)[len(everything) // 2]
    kept = annotator(detector, iou_threshold=1.0, score_threshold=middle).annotate([cloth(6)])[0]
    assert 0 < len(kept) <= len(everything)
    assert min(region.score for region in kept) >= middle - 1e-6
    assert annotator(detector, score_threshold=1.0, max_regions=1).annotate([cloth(6)])[0][1:] == ()


def test_doubles_are_dropped(detector):
    loose = annotator(detector, iou_threshold=1.0).annotate([cloth(7)])[0]
    strict = annotator(detector, iou_threshold=0.2).annotate([cloth(7)])[0]
    assert 0 < len(strict) <= len(loose)
    boxes = np.array([region.box_xyxy_px for region in strict], np.float32)
    overlap = np.triu(iou_matrix(boxes, boxes), 1)
    pairs = np.argwhere(overlap > 0.2 + 1e-3)
    assert all(strict[one].label != strict[two].label for one, two in pairs)


def test_a_wide_strip_is_looked_at_in_tiles(detector):
    strip = cloth(8, (64, 400))
    (regions,) = annotator(detector, tile_px=64, tile_overlap_px=16).annotate([strip])
    assert max(r.box_xyxy_px[2] for r in regions) > 300
    assert min(r.box_xyxy_px[0] for r in regions) < 64
    assert max(r.box_xyxy_px[2] - r.box_xyxy_px[0] for r in regions) <= 400


def test_a_box_of_a_negative_prompt_is_dropped(detector):
    mill = Taxonomy(
        version=1,
        classes=("drop",),
        kinds=(DefectKind(phrase="a dark stain", category="oil", parent="drop"),),
    )
    without = annotator(detector, mill, iou_threshold=1.0).annotate([cloth(9)])[0]
    negatives = ("table edge", "shadow", "a hand", "printed pattern", "selvedge", "ruler", "screw", "light")
    left = annotator(detector, mill, iou_threshold=1.0, negative_prompts=negatives).annotate([cloth(9)])[0]
    assert len(left) < len(without)
    assert all(region.label == "drop" for region in left)


def test_what_a_negative_prompt_describes_better_goes_and_the_rest_stays():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [50, 0, 60, 10], [0, 0, 10, 10]], np.float32)
    scores = np.array([0.6, 0.3, 0.3, 0.9], np.float32)
    is_negative = np.array([True, False, False, False])
    assert described_better(boxes, scores, is_negative, 0.5).tolist() == [True, True, False, False]
    assert not described_better(boxes, scores, np.zeros(4, bool), 0.5).any()


def test_a_phrase_scores_as_its_best_token():
    tokens = torch.tensor([[[0.9, 0.2, 0.4, 0.1, 0.3]]])
    assert scores_of_phrases(tokens, [[1, 2], [4]]).tolist() == [[[pytest.approx(0.4), pytest.approx(0.3)]]]


def test_prompts_that_make_too_long_a_sentence_are_asked_in_several(tmp_path):
    detector = load_open_detector(str(write_grounding_dino(tmp_path / "dino", max_text_len=64)))
    texts = ["a warp yarn is missing", "hole", "oil stain", "the edge of the cloth is torn", "wrinkle"]
    query = GroundingDinoQuery(detector, texts)
    found = query.find([np.dstack([cloth(10)] * 3)], 0.0)[0]
    queries = detector.model.config.num_queries
    assert len(found.scores) % queries == 0
    assert len(found.scores) > queries
    assert set(found.prompts.tolist()) <= set(range(len(texts)))
    assert max(found.prompts.tolist()) > 1


def test_grounding_dino_scores_as_its_own_post_processing_does(folders):
    """With one prompt the best token of the phrase is that of the sentence, but for the full stop."""
    detector = load_open_detector(str(folders["grounding-dino"]))
    image = np.dstack([cloth(11)] * 3)
    found = GroundingDinoQuery(detector, ["hole"]).find([image], 0.0)[0]
    made = detector.processor(images=[image], text=["hole."], return_tensors="pt")
    with torch.inference_mode():
        outputs = detector.model(**made)
    stock = detector.processor.post_process_grounded_object_detection(
        outputs, made["input_ids"], threshold=-1.0, target_sizes=[image.shape[:2]]
    )[0]
    assert torch.allclose(found.boxes_xyxy_px, stock["boxes"], atol=1e-3)
    assert (found.scores <= stock["scores"] + 1e-6).all()
    tokens = outputs.logits.sigmoid()[0, :, 1:-2][:, : made["input_ids"].shape[1] - 3].amax(dim=-1)
    assert torch.allclose(found.scores, tokens)


@pytest.mark.parametrize("words", ["x y " * 150, "\u0301"], ids=["too long", "nothing"])
def test_words_that_grounding_dino_cannot_take_are_refused(folders, words):
    detector = load_open_detector(str(folders["grounding-dino"]))
    with pytest.raises(ConfigError, match="tokens"):
        GroundingDinoQuery(detector, ["hole", words])


def test_long_words_do_not_trouble_owl(folders):
    detector = load_open_detector(str(folders["owlv2"]))
    (regions,) = annotator(detector, negative_prompts=("a very long story " * 20,)).annotate([cloth(12)])
    assert isinstance(regions, tuple)


@pytest.mark.parametrize(
    "values",
    [{"score_threshold": 2}, {"batch": 0}, {"tile_px": 8}, {"negative_prompts": ("",)}, {"prompts": ()}],
    ids=str,
)
def test_settings_out_of_range_are_refused(values):
    with pytest.raises(ValidationError):
        ZeroShotSettings(**values)
