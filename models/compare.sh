#!/bin/bash
# Measures what each choice of the recipe brings: trains short runs that differ from it in one
# setting, and prints a table of their validation scores.
#
#   models/compare.sh DATA_FOLDER OUT_FOLDER [EPOCHS]
#
# A run that is there already is not repeated, one that was interrupted goes on. With 2,192
# validation faces one standard error is about one point of accuracy: read the loss too, which is
# less noisy, and don't take a fraction of a point for a finding.
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0" >&2; exit 2; }
data=$(realpath "$1") out=$(realpath -m "$2") epochs=${3:-8}
cd "$(dirname "$0")/.."
cargo build --release --features lab --bin mien-lab

# NAME, then the settings by which the run differs.
block() { echo "{width=$1,depth=2,down=\"$2\"}"; }
network() { # NAME STEM STRIDE POOL BLOCKS
    echo "train.network={name=\"$1\",stem=$2,stem_stride=$3,stem_norm_after_relu=false,stem_pool=$4,blocks=[$5],dropout=0.1}"
}
no=no down=stride
shallow="$(block 64 $down),$(block 64 $no),$(block 128 $down),$(block 128 $no),$(block 192 $down),$(block 192 $no)"
early="$(block 48 $no),$(block 48 $no),$(block 80 $down),$(block 80 $no),$(block 80 $no),$(block 144 $down),$(block 144 $no),$(block 144 $no)"
fine="$(block 48 $no),$(block 80 $down),$(block 80 $no),$(block 80 $no),$(block 160 $down),$(block 160 $no),$(block 160 $no)"
stage() { # WIDTH BLOCKS, the first of which strides
    printf %s "$(block "$1" $down)"
    for _ in $(seq 2 "$2"); do printf ,%s "$(block "$1" $no)"; done
}
deep="$(stage 56 6),$(stage 104 6),$(stage 80 2)"

run() {
    local name=$1
    shift
    local settings=()
    for setting; do settings+=(--set "$setting"); done
    target/release/mien-lab train models/mien-slim-teacher.recipe.toml --data-dir "$data" \
        --set "train.epochs=$epochs" "${settings[@]}" --out "$out/$name" >"$out/$name.log"
    local last
    last=$(tail -n 1 "$out/$name/curve.csv")
    printf '| %s | %s |\n' "$name" "$(awk -F, '{printf "%.3f | %.2f %% | %.2f %%", $4, 100*$5, 100*$6}' <<<"$last")"
}

mkdir -p "$out"
echo "| run, $epochs epochs | validation loss | accuracy | gender |"
echo "|---|---|---|---|"
run recipe
run shallow "$(network shallow '[16,32]' 1 true "$shallow")"
run early-stride "$(network early '[16,32]' 2 false "$early")"
run fine-blocks "$(network fine '[16,16]' 1 true "$fine")"
run deeper "$(network deeper '[16,24]' 1 true "$deep")"
run contrast-plain 'train.preprocessing.contrast="plain"'
run contrast-equalized 'train.preprocessing.contrast="equalized"'
run frame-tighter train.preprocessing.frame_side=0.9
run frame-looser train.preprocessing.frame_side=1.1
run no-flip train.augment.flip=false
run no-turn train.augment.turn_deg=0
run no-scale-shift train.augment.scale=0 train.augment.shift_px=0
run no-light train.augment.contrast=0 train.augment.brightness=0
run no-cutout train.augment.cutout_share=0
run mixup train.augment.mixup_share=0.3
run hard-labels data.votes_share=0
run votes-only data.votes_share=1
run label-smoothing train.loss.label_smoothing=0.1
run class-balance train.loss.class_balance=0.5
run focal train.loss.focal_gamma=1
run no-decay train.optimizer.weight_decay=0
run no-clipping train.optimizer.clip_norm=0
run no-averaging train.optimizer.average_steps=1
run single-precision 'train.precision="f32"'
