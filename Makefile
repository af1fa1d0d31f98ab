# Everything this project needs is put inside it: uv, its cache and an interpreter if one is missing into .uv,
# packages into .venv (hard links into the cache, so nothing lies there twice).
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help

# A uv that is on the PATH and works, or one of our own.
UV := $(shell if uv --version >/dev/null 2>&1; then command -v uv; else echo .uv/bin/uv; fi)
export UV_PROJECT_ENVIRONMENT := .venv
export UV_CACHE_DIR ?= $(CURDIR)/.uv/cache
export UV_PYTHON_INSTALL_DIR ?= $(CURDIR)/.uv/python
# Tests start hundreds of processes: each would compile every module that it imports, again.
unexport PYTHONDONTWRITEBYTECODE
RUN := .venv/bin
WORKBENCH_STAMP := .venv/.workbench
# The article that the shipped model knows best; its own seeds are never woven again here.
DEMO_CLOTH := weave=plain,warp_pitch_px=4,weft_pitch_px=4,mean_grey=120
SOURCES := edge distill export tests docs

.PHONY: help demo office-demo workbench test-tools peers test check docs format lint types imports pipeline shipped images clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

demo: .venv/.base ## find defects on a simulated loom with the shipped model (no torch needed)
	mkdir -p runs/demo
	$(RUN)/edge-run --camera loom:$(DEMO_CLOTH),seed=2026,width_px=2048,length_m=30,defects_per_m=2 \
	    --detections runs/demo/detections.jsonl --save-pictures runs/demo/pictures \
	    --summary runs/demo/summary.json

office-demo: $(WORKBENCH_STAMP) ## three simulated looms, a broker, PostgreSQL and the office: every question answered
	$(RUN)/python docs/benchmarks/office_demo.py

workbench: $(WORKBENCH_STAMP) ## install what trains and exports detectors (torch, ultralytics, openvino, tensorrt-rtx)

peers: .venv-peers/.peers ## install the labelling programs that labels are exchanged with, for the tests

# They need an older numpy and OpenCV than the project, so they have an environment of their own.
.venv-peers/.peers: tests/peers/pyproject.toml tests/peers/uv.lock $(WORKBENCH_STAMP)
	UV_PROJECT_ENVIRONMENT=$(CURDIR)/.venv-peers $(UV) sync --frozen --quiet --project tests/peers --python $(RUN)/python
	touch $@

test-tools: ## install the Debian packages that tests use, as root: browser, broker, database, camera, proxy
	apt-get update -qq
	apt-get install -y -qq --no-install-recommends chromium mosquitto mosquitto-clients openssl nginx postgresql systemd sqlite3 \
	    minisign aravis-tools gir1.2-aravis-0.8 python3-gi

# Each worker has one thread: with more apiece torch's wait for each other, several times as long as they work. There
# are half again as many workers as cores, as for a third of its time a test waits: for browsers, brokers and clocks.
test: $(WORKBENCH_STAMP) ## run the tests
	OMP_NUM_THREADS=1 $(RUN)/pytest -n $$(( ($$(nproc) * 3 + 1) / 2 )) --dist worksteal

check: $(WORKBENCH_STAMP) ## format, lint, strict types, import rules, tests: what CI runs
	$(RUN)/ruff format --check $(SOURCES)
	$(RUN)/ruff check $(SOURCES)
	$(RUN)/mypy
	MYPYPATH=docs/benchmarks $(RUN)/mypy --explicit-package-bases --allow-untyped-calls docs/benchmarks
	$(RUN)/lint-imports
	$(MAKE) --no-print-directory test

format: $(WORKBENCH_STAMP) ## format the code
	$(RUN)/ruff format $(SOURCES)
	$(RUN)/ruff check --fix $(SOURCES)

pipeline: $(WORKBENCH_STAMP) ## the whole chain at smoke size: simulate, distill, export, edge-run
	rm -rf runs/pipeline
	$(RUN)/loomsight simulate --out runs/pipeline/data --images 300 --seed 11 --workers 2 \
	    --difficulty obvious --difficulty clear
	$(RUN)/loomsight distill runs/pipeline/data --recipe smoke --out runs/pipeline/train
	$(RUN)/loomsight export runs/pipeline/train/best.pt --images runs/pipeline/data/images/test \
	    --out runs/pipeline/bundle
	$(RUN)/loomsight edge-run \
	    --camera loom:seed=77,length_m=10,defects_per_m=2,difficulties=obvious+clear \
	    --model runs/pipeline/bundle --summary runs/pipeline/summary.json

shipped: $(WORKBENCH_STAMP) ## train the shipped detector again (six hours on two cores; goes on after an interruption)
	$(RUN)/python docs/benchmarks/shipped.py runs/shipped --bundle edge/demo_bundle --weights distill/weights/any-cloth.pt

images: $(WORKBENCH_STAMP) ## make images and numbers of README and documentation again, from what ships (needs chromium)
	for program in draw page page_article roll review readme_numbers; do
	    $(RUN)/python docs/images/$$program.py
	done

# Its packages lie in an environment of their own; of the project it reads the sources, and imports nothing.
docs: $(filter .uv/bin/uv,$(UV)) ## build the documentation site in site/; a broken link is an error
	UV_PROJECT_ENVIRONMENT=.venv-docs $(UV) sync --frozen --quiet --only-group docs
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict

clean: ## remove what was installed and made here
	rm -rf .venv .venv-peers .venv-docs .uv runs site

.uv/bin/uv:
	python3 -m pip install --quiet --disable-pip-version-check --no-cache-dir --target .uv uv

# A bare Debian has no libGL, which opencv-python links: the same OpenCV without windows takes its place.
define ensure_opencv
$(RUN)/python -c "import cv2" 2>/dev/null || \
    $(UV) pip install --quiet --python $(RUN)/python --reinstall-package opencv-python-headless \
    "opencv-python-headless==$$($(RUN)/python -c 'import importlib.metadata as m; print(m.version("opencv-python"))')"
endef

# A plain sync would take the workbench away again: where it is installed, it is what has to be up to date.
ifneq ($(wildcard $(WORKBENCH_STAMP)),)
.venv/.base: $(WORKBENCH_STAMP)
	touch $@
else
.venv/.base: pyproject.toml uv.lock $(filter .uv/bin/uv,$(UV))
	$(UV) sync --frozen --quiet
	$(ensure_opencv)
	touch $@
endif

$(WORKBENCH_STAMP): pyproject.toml uv.lock $(filter .uv/bin/uv,$(UV))
	$(UV) sync --frozen --quiet --group dev --extra workbench --extra openvino --extra rtx --extra basler --extra mill --extra opcua --extra trust --extra gpio --extra office
	$(ensure_opencv)
	touch $@ .venv/.base
