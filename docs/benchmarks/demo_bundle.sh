#!/usr/bin/env bash
# Trains the shipped detector again, stage by stage: six hours on two cores. Run it by `make demo-bundle`.
# Usage: docs/benchmarks/demo_bundle.sh BIN FOLDER, with the folders of the commands and for all that is made.
set -euo pipefail
bin=$1 folder=$2 here=$(dirname "$0")
article=(--weave plain --warp-pitch-px 4 --weft-pitch-px 4 --mean-grey 120)
crowded=(--size-hw 768 768 --defects-per-m 40 --difficulty obvious --difficulty clear --difficulty subtle)
small=(--size-hw 256 256 --mm-per-px 0.2 --defects-per-m 25)

weave() { # NAME IMAGES SEED TRAIN-SHARE FLAGS...
    local val
    val=$(awk "BEGIN { print 1 - $4 }")
    "$bin/loomsight" simulate --out "$folder/$1" --images "$2" --seed "$3" --workers 2 \
        --split "train=$4,val=$val" "${@:5}"
}

train() { # DATA FROM OUT FLAGS...
    "$bin/loomsight" distill "$folder/$1" --start-from "$folder/$2/best.pt" --out "$folder/$3" "${@:4}"
}

join() { # NAME PARTS...: one data set of several, by hard links
    local part place file
    for part in "${@:2}"; do
        for place in {images,labels}/{train,val}; do
            mkdir -p "$folder/$1/$place"
            for file in "$folder/$part/$place"/*; do
                ln "$file" "$folder/$1/$place/$part-${file##*/}"
            done
        done
    done
    cp "$folder/$2"/{data.yaml,simulation.json} "$folder/$1/"
}

rm -rf "$folder"
weave data 2000 20262 0.97 "${crowded[@]}" "${article[@]}" --article-share 0.5
"$bin/loomsight" distill "$folder/data" --recipe demo --out "$folder/general"
weave article 900 20263 0.94 "${crowded[@]}" "${article[@]}"
train article general first --recipe article
train article first again --recipe article --epochs 2 --seed 1

weave many 4000 60417 0.97 "${small[@]}" "${article[@]}" --article-share 0.3
weave more 1700 70711 0.96 "${small[@]}" "${article[@]}" --article-share 0.4
weave yarns 800 70713 0.99 "${small[@]}" --category "broken end" --category "broken pick"
join any many more yarns
train any again last --recipe "$here/demo-any-cloth.toml"

wide=(--recipe "$here/demo-wide.toml")
weave wide 9000 80801 0.97 "${small[@]}" "${article[@]}" --article-share 0.25
train wide last widest "${wide[@]}"
weave loose 12000 90907 0.97 "${small[@]}" "${article[@]}" --article-share 0.25
train loose widest loose-run "${wide[@]}"
weave streaked 9000 101013 0.97 "${small[@]}" "${article[@]}" --article-share 0.25
LOOMSIGHT_DISTILL_LEARNING_RATE=0.0005 train streaked loose-run streaked-run "${wide[@]}" --epochs 3
join both loose streaked
LOOMSIGHT_DISTILL_EMA_DECAY=0.999 train both streaked-run both-run "${wide[@]}" --epochs 2 --seed 7

"$bin/python" -m distill.commands.slim "$folder/both-run/best.pt" "$folder/shipped.pt"
"$bin/loomsight" export "$folder/shipped.pt" --images "$folder/article/images/val" \
    --threshold wrinkle=0.4 --threshold drop=0.65 --threshold broken=0.4 \
    --float16-weights --out edge/demo_bundle --overwrite
cp "$folder/shipped.pt" distill/weights/any-cloth.pt
