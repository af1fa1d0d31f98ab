"""The shipped model finds defects on cloth it was never trained on, and fits the box it is meant for."""

from __future__ import annotations

from pathlib import Path

from edge.app.run import run
from edge.bundle.opening import demo_bundle_path, open_bundle
from edge.config.edge import EdgeConfig
from edge.core.taxonomy import load_taxonomy

ARTICLE = "weave=plain,warp_pitch_px=4,weft_pitch_px=4,mean_grey=120"
"""What `make demo` weaves: the cloth that the shipped model is for."""


def test_it_finds_what_counts_on_an_unseen_roll_of_its_article():
    summary = run(EdgeConfig(camera=f"loom:{ARTICLE},seed=424242,width_px=1024,length_m=8,defects_per_m=4"))
    assert summary["planted"] >= 10
    assert summary["recall"] >= 0.9
    assert summary["precision"] >= 0.9


def test_it_is_silent_on_clean_cloth():
    summary = run(EdgeConfig(camera=f"loom:{ARTICLE},seed=515151,width_px=1024,length_m=3,defects_per_m=0"))
    assert summary["false"] <= 1


def test_it_is_small_and_speaks_the_taxonomy_of_the_mill():
    bundle = open_bundle(demo_bundle_path())
    assert sum(path.stat().st_size for path in Path(bundle.path).rglob("*")) < 10_000_000
    assert bundle.manifest is not None
    assert bundle.manifest.contract.class_names == load_taxonomy().classes
    assert bundle.manifest.contract.mm_per_px == 0.2
    assert len(bundle.manifest.golden) >= 2
