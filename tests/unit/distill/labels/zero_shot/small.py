"""Open-vocabulary detectors of the real classes, a few thousand random weights each, written to folders."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from transformers import (
    BertConfig,
    BertTokenizerFast,
    CLIPTokenizer,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessor,
    GroundingDinoProcessor,
    Owlv2Config,
    Owlv2ForObjectDetection,
    Owlv2ImageProcessor,
    Owlv2Processor,
    OwlViTConfig,
    OwlViTForObjectDetection,
    OwlViTImageProcessor,
    OwlViTProcessor,
    SwinConfig,
)

from distill.labels.annotators.remarks import without_remarks

CHARACTERS = "abcdefghijklmnopqrstuvwxyz,'-0123456789"
INPUT_PX = 64
BERT_IDS = {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]", 1012: ".", 1029: "?"}
"""Grounding DINO knows the ends of phrases by these ids of BERT's vocabulary."""


def write_grounding_dino(folder: Path, max_text_len: int = 256) -> Path:
    folder.mkdir(parents=True)
    tokenizer = BertTokenizerFast(vocab=str(_bert_vocabulary(folder)))
    torch.manual_seed(0)
    config = GroundingDinoConfig(
        backbone_config=SwinConfig(
            image_size=INPUT_PX, patch_size=4, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 1, 1],
            window_size=4, out_features=["stage2", "stage3", "stage4"],
        ),
        text_config=BertConfig(
            vocab_size=1100, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
            intermediate_size=32, max_position_embeddings=256,
        ),
        d_model=32, encoder_layers=1, decoder_layers=2, encoder_attention_heads=4,
        decoder_attention_heads=4, encoder_ffn_dim=32, decoder_ffn_dim=32, num_queries=20,
        max_text_len=max_text_len, encoder_n_points=2, decoder_n_points=2, disable_custom_kernels=True,
    )  # fmt: skip
    images = GroundingDinoImageProcessor(size={"shortest_edge": INPUT_PX, "longest_edge": 2 * INPUT_PX})
    return _saved(
        GroundingDinoForObjectDetection(config), GroundingDinoProcessor(images, tokenizer), folder
    )


def write_owlv2(folder: Path) -> Path:
    images = Owlv2ImageProcessor(size={"height": INPUT_PX, "width": INPUT_PX})
    return _write_owl(folder, Owlv2Config, Owlv2ForObjectDetection, Owlv2Processor, images)


def write_owlvit(folder: Path) -> Path:
    images = OwlViTImageProcessor(size={"height": INPUT_PX, "width": INPUT_PX}, do_center_crop=False)
    return _write_owl(folder, OwlViTConfig, OwlViTForObjectDetection, OwlViTProcessor, images)


def _write_owl(folder, config_class, model_class, processor_class, images):
    folder.mkdir(parents=True)
    words = [*CHARACTERS, *(f"{c}</w>" for c in CHARACTERS), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=16)
    torch.manual_seed(0)
    layers = {"intermediate_size": 37, "num_hidden_layers": 1, "num_attention_heads": 4}
    config = config_class(
        text_config={
            **layers, "hidden_size": 32, "vocab_size": len(words), "max_position_embeddings": 16,
            "pad_token_id": 0, "bos_token_id": len(words) - 2, "eos_token_id": len(words) - 1,
        },
        vision_config={**layers, "hidden_size": 32, "image_size": INPUT_PX, "patch_size": 16},
        projection_dim=32,
    )  # fmt: skip
    model = model_class(config)
    with torch.no_grad():  # boxes of a fresh model lie in the corner of each cell and have hardly a width
        model.box_head.dense2.weight.mul_(0)
        model.class_head.dense0.weight.mul_(20)
    return _saved(model, processor_class(images, tokenizer), folder)


def _bert_vocabulary(folder: Path) -> Path:
    words = [BERT_IDS.get(number, f"[unused{number}]") for number in range(1100)]
    for number, character in enumerate(CHARACTERS):
        words[200 + number], words[300 + number] = character, f"##{character}"
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    return folder / "vocab.txt"


def _saved(model, processor, folder: Path) -> Path:
    with without_remarks():
        model.save_pretrained(folder)
        processor.save_pretrained(folder)
    return folder
