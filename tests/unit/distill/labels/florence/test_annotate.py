from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from distill.labels.florence.annotate import FlorenceAnnotator, Question
from distill.labels.florence.generation import generate, model_inputs
from distill.labels.florence.grammar import TokenIds, grammar_of, prefix_function
from distill.labels.florence.loading import load_teacher
from distill.labels.florence.scores import scored_boxes
from distill.labels.florence.settings import AnnotationSettings
from edge.core.errors import ConfigError
from tests.unit.distill.labels.florence.small import TAXONOMY, bright_square

NAMES = TAXONOMY.classes


@pytest.fixture(scope="module")
def teacher(base):
    return load_teacher(str(base))


@pytest.fixture(scope="module")
def tokenizer(teacher):
    return teacher.processor.tokenizer


def spelled(tokenizer, text):
    """The tokens of an answer as the decoder sees them, start and beginning included."""
    return [2, 0, *tokenizer(text, add_special_tokens=False)["input_ids"]]


def allowed(tokenizer, text, names=NAMES):
    tokens = grammar_of(tokenizer, names).allowed(spelled(tokenizer, text)).tolist()
    return set(tokenizer.convert_ids_to_tokens(tokens))


def annotator(teacher, **changes):
    values = {"vocabulary": NAMES, "max_new_tokens": 24, "batch": 2}
    return FlorenceAnnotator(teacher, TAXONOMY, AnnotationSettings(**{**values, **changes}))


def read_images(count, seed=0):
    rng = np.random.default_rng(seed)
    return [bright_square(rng)[0] for _ in range(count)]


@pytest.mark.parametrize(
    ("text", "has", "has_not"),
    [
        ("", {"</s>", "drop", "broken", "wrinkle"}, {"<loc_0>"}),
        ("drop", {"<loc_0>", "<loc_999>"}, {"</s>", "drop"}),
        ("drop<loc_5><loc_9>", {"<loc_5>", "<loc_999>"}, {"<loc_4>", "</s>", "drop"}),
        ("drop<loc_5><loc_9><loc_7>", {"<loc_9>"}, {"<loc_8>", "</s>"}),
        ("drop<loc_5><loc_9><loc_7><loc_9>", {"</s>", "<loc_0>", "broken"}, {"<pad>"}),
        ("drop<loc_5><loc_9><loc_7><loc_9><loc_3>", {"<loc_0>"}, {"</s>", "drop"}),
        ("drop</s>", {"<pad>"}, {"</s>", "drop"}),
    ],
    ids=["beginning", "after-name", "right-of-left", "below-top", "after-box", "second-box", "after-end"],
)
def test_the_grammar_permits_what_may_follow(tokenizer, text, has, has_not):
    tokens = allowed(tokenizer, text)
    assert has <= tokens
    assert not has_not & tokens


def test_a_name_of_several_tokens_is_followed_to_its_end(tokenizer):
    names = ("xq", "xqz")
    assert allowed(tokenizer, "x", names) == {"q"}
    assert allowed(tokenizer, "xq", names) >= {"z", "<loc_0>"}
    assert "z" not in allowed(tokenizer, "xqz", names)


def test_without_a_vocabulary_any_words_are_a_name(tokenizer):
    assert "<loc_0>" not in allowed(tokenizer, "", None)
    assert {"<loc_0>", "moth"[0]} <= allowed(tokenizer, "m", None)
    assert "<poly>" not in allowed(tokenizer, "m", None)


@pytest.mark.parametrize("beams", [1, 3], ids=["greedy", "beams"])
@pytest.mark.parametrize("names", [NAMES, None], ids=["vocabulary", "open"])
def test_constrained_answers_never_leave_the_grammar(base, beams, names):
    teacher = load_teacher(str(base))
    torch.manual_seed(beams)
    with torch.no_grad():  # a model that wants to say anything but a box
        for weight in teacher.model.parameters():
            weight.add_(torch.randn_like(weight) * 0.3)
    ids, grammar = TokenIds.of(teacher.processor.tokenizer), grammar_of(teacher.processor.tokenizer, names)
    inputs = model_inputs(teacher, read_images(3), ["<OD>"] * 3)
    for said in generate(teacher, inputs, beams=beams, max_new_tokens=30, allowed=prefix_function(grammar)):
        for length in range(1, len(said.tokens)):
            token = said.tokens[length]
            cut_off = token == ids.end and length == 30 - 1
            assert cut_off or token in grammar.allowed([2, *said.tokens[:length]]).tolist()
        for box in scored_boxes(said.tokens, said.log_probabilities, ids):
            assert 0 <= box.score <= 1
            assert box.bins[2] >= box.bins[0]
            assert box.bins[3] >= box.bins[1]


def test_scores_are_products_of_probabilities(tokenizer):
    tokens = spelled(
        tokenizer, "drop<loc_1><loc_2><loc_3><loc_4><loc_5><loc_6><loc_7><loc_8>broken<loc_9>"
    )[1:]
    values = [
        0.0,
        math.log(0.5),
        *[math.log(p) for p in (0.9, 0.9, 0.4, 0.4)],
        *[math.log(0.2)] * 4,
        -1,
        -1,
    ]
    first, second = scored_boxes(tokens, values, TokenIds.of(tokenizer))
    assert (first.bins, second.bins) == ((1, 2, 3, 4), (5, 6, 7, 8))
    assert first.label_probability == second.label_probability == pytest.approx(0.5)
    assert first.place_probability == pytest.approx(0.6)
    assert second.score == pytest.approx(0.1)


@pytest.mark.parametrize("text", ["", "drop", "<loc_1><loc_2><loc_3><loc_4>", "drop<loc_1><loc_2>"])
def test_what_is_no_whole_box_is_skipped(tokenizer, text):
    tokens = spelled(tokenizer, text)[1:]
    assert scored_boxes(tokens, [-0.1] * len(tokens), TokenIds.of(tokenizer)) == []


@pytest.mark.parametrize(
    ("makes", "warnings"),
    [({"suppress_tokens": [2]}, 1), ({"exponential_decay_length_penalty": (1, 1e4)}, 0)],
    ids=["an-answer-without-end", "short-answers"],
)
def test_a_cut_answer_is_reported_once(base, caplog, makes, warnings):
    teacher = load_teacher(str(base))
    for name, value in makes.items():
        setattr(teacher.model.generation_config, name, value)
    annotator(teacher).annotate(read_images(5))
    assert sum("cut at max_new_tokens = 24" in message for message in caplog.messages) == warnings


def test_answers_do_not_depend_on_their_neighbours(teacher):
    images = read_images(5)
    together = annotator(teacher, batch=5).annotate(images)
    alone = [annotator(teacher, batch=1).annotate([image])[0] for image in images]
    for ours, theirs in zip(together, alone, strict=True):
        assert [r.box_xyxy_px for r in ours] == [r.box_xyxy_px for r in theirs]
        assert [r.score for r in ours] == pytest.approx([r.score for r in theirs], abs=1e-5)


def test_regions_carry_scores_and_who_said_so(teacher):
    (regions,) = annotator(teacher).annotate(read_images(1))
    assert regions
    for region in regions:
        assert region.label in NAMES
        assert 0 <= region.score <= 1
        assert region.annotator == "florence-2"
    assert [r.score for r in regions] == sorted((r.score for r in regions), reverse=True)
    least = regions[0].score + 1e-6
    assert annotator(teacher, score_floor=min(1.0, least)).annotate(read_images(1)) == [()]


def test_grey_colour_and_odd_sizes_are_taken_together(teacher):
    colour = np.zeros((33, 90, 3), np.uint8)
    found = annotator(teacher, tile_px=48, tile_overlap_px=8).annotate([*read_images(1), colour])
    assert len(found) == 2
    for region in found[1]:
        x1, y1, x2, y2 = region.box_xyxy_px
        assert 0 <= x1 < x2 <= 90.1
        assert 0 <= y1 < y2 <= 33.1
    assert annotator(teacher).annotate([]) == []


def test_text_image_or_both_can_be_asked_about(teacher):
    (image,) = read_images(1)
    questions = [
        Question("caption", image),
        Question("grounding", None, "drop."),
        Question("region_to_category", image, "<loc_1><loc_2><loc_30><loc_40>"),
        Question("segmentation", image, "broken end"),
    ]
    answers = annotator(teacher).answer(questions)
    assert len(answers) == 4
    assert answers[0].regions == ()
    assert all(r.label == "broken" and r.polygon_xy_px for r in answers[3].regions)
    with pytest.raises(ConfigError, match="takes no text"):
        annotator(teacher).answer([Question("detection", image, "a stain")])


def test_other_names_than_the_classes_are_grounded(teacher):
    (regions,) = annotator(teacher, vocabulary=("stain", "moth")).annotate(read_images(1))
    assert {r.category or r.label for r in regions} <= {"stain", "moth"}
