#!/usr/bin/env bash
# Runs what a GPU is wanted for, step by step, in order of worth; each step ends within ten minutes and writes STEP.json.
# Usage: docs/benchmarks/gpu_kit.sh [--smallest] [STEP ...]; without a step it lists them. See gpu_kit.md.
#   PYTHON=.venv/bin/python  the interpreter; FOLDER=runs/gpu-kit  where all is written; LIMIT_S=540  for one step
set -euo pipefail
here=$(dirname "$0")
python=${PYTHON:-python} folder=${FOLDER:-runs/gpu-kit} limit_s=${LIMIT_S:-540}
steps=(data train torchrun onnxruntime tensorrt preprocess tests)
declare -A what=(
    [data]="weaves the images that are trained on; a step that needs them does it, too"
    [train]="YOLOv5l, YOLOv5s and YOLOv5s under YOLOv5l at 640 px with AMP: images/s, memory"
    [torchrun]="the same YOLOv5s by torchrun with one process; the collective operations of one process"
    [onnxruntime]="ONNX Runtime on CUDA against the processor: differences, detections, latency, edge-bench"
    [tensorrt]="an engine of TensorRT or TensorRT-RTX: built, run, against the processor, edge-bench"
    [preprocess]="CLAHE and normalisation on the GPU against the processor: differences, milliseconds"
    [tests]="the project's own tests that need a GPU"
)

list() {
    local step state
    for step in "${steps[@]}"; do
        state=$([[ -f $folder/$step.json ]] && echo done || echo -)
        printf '%-12s %-5s %s\n' "$step" "$state" "${what[$step]}"
    done
    echo
    "$python" "$here/gpu_kit.py" packages
}

run() { # STEP
    local code=0
    if [[ -f $folder/$1.json ]]; then
        echo "$1: done, see $folder/$1.json; remove it to run the step again"
        return
    fi
    mkdir -p "$folder"
    # The step ends by itself at its limit, and its commands save what they have; a minute later it is killed.
    timeout --foreground --signal=KILL $((limit_s + 60)) \
        "$python" "$here/gpu_kit.py" "$1" --folder "$folder" --limit-s "$limit_s" "${smallest[@]}" || code=$?
    if [[ ! -f $folder/$1.json ]]; then
        echo "$1: not done (exit code $code); the same command goes on with it" >&2
        exit $((code ? code : 1))
    fi
}

smallest=()
if [[ ${1:-} == --smallest ]]; then
    smallest=(--smallest)
    shift
fi
[[ $# -gt 0 ]] || list
for step in "$@"; do
    if [[ -z ${what[$step]:-} ]]; then
        echo "There is no step $step; there are ${steps[*]}." >&2
        exit 2
    fi
    run "$step"
done
