"""A tokenizer of Florence-2's form without a download, with the words of a taxonomy as whole pieces."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tokenizers import ByteLevelBPETokenizer
from transformers import RobertaTokenizerFast

from distill.labels.florence.loading import LOCATION_TOKENS

BASE_TOKENS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
"""In the order of BART, whose ids 0, 1 and 2 its configuration names."""

IMAGE_TOKEN = "<image>"
MARKS = (
    "<od>", "</od>", "<ocr>", "</ocr>", *LOCATION_TOKENS, "<cap>", "</cap>", "<ncap>", "</ncap>", "<dcap>",
    "</dcap>", "<grounding>", "</grounding>", "<seg>", "</seg>", "<sep>", "<region_cap>", "</region_cap>",
    "<region_to_desciption>", "</region_to_desciption>", "<proposal>", "</proposal>", "<poly>", "</poly>",
    "<and>",
)  # fmt: skip
"""As in the published tokenizer, its spelling included."""

MOST_PIECES = 2000


def build_tokenizer(texts: Iterable[str]) -> Any:
    """Build a byte-level tokenizer that spells frequent words of some texts in one piece.

    Args:
        texts: sentences it is to spell briefly; none gives one token per byte.
    """
    pieces = ByteLevelBPETokenizer()
    pieces.train_from_iterator(
        list(texts), vocab_size=MOST_PIECES, min_frequency=1, special_tokens=list(BASE_TOKENS),
        show_progress=False,
    )  # fmt: skip
    with TemporaryDirectory() as folder:
        pieces.save_model(folder)
        tokenizer = RobertaTokenizerFast(
            str(Path(folder) / "vocab.json"),
            str(Path(folder) / "merges.txt"),
            extra_special_tokens={"image_token": IMAGE_TOKEN},
        )
    tokenizer.add_special_tokens({"additional_special_tokens": list(MARKS)})
    tokenizer.add_tokens([IMAGE_TOKEN], special_tokens=True)
    return tokenizer
