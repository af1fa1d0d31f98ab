"""The shipped model finds defects on cloth it was never trained on, and fits the box it is meant for."""

from __future__ import annotations

from pathlib import Path

from edge.bundle import demo_bundle_path, open_bundle
from edge.config import EdgeConfig
from edge.run import run
from edge.taxonomy import load_taxonomy


def test_it_finds_plain_defects_on_unseen_cloth():
    camera = "loom:seed=424242,width_px=1024,length_m=6,defects_per_m=3,difficulties=obvious+clear"
    summary = run(EdgeConfig(camera=camera))
    assert summary["planted"] >= 10
    assert summary["recall"] >= 0.85
    assert summary["precision"] >= 0.75


def test_it_is_silent_on_clean_cloth():
    summary = run(EdgeConfig(camera="loom:seed=515151,width_px=1024,length_m=3,defects_per_m=0"))
    assert summary["false"] <= 1


def test_it_is_small_and_speaks_the_taxonomy_of_the_mill():
    bundle = open_bundle(demo_bundle_path())
    assert sum(path.stat().st_size for path in Path(bundle.path).rglob("*")) < 10_000_000
    assert bundle.manifest is not None
    assert bundle.manifest.contract.class_names == load_taxonomy().classes
    assert bundle.manifest.contract.mm_per_px == 0.2
    assert len(bundle.manifest.golden) >= 2
