"""A simulated article: its cloth as an area camera sees it, and clean metres of it to teach on."""

from __future__ import annotations

CLOTH = "weave=plain,warp_pitch_px=5,weft_pitch_px=5,mean_grey=70,width_px=320,bed_left_mm=0,bed_right_mm=0"
FRAMES = f"scan=area,height_px=320,{CLOTH}"
CLEAN = f"loom:seed=3,defects_per_m=0,length_m=0.64,{FRAMES}"
