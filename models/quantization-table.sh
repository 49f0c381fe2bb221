#!/bin/bash
# Measures what each part of quantization brings to a checkpoint: quantizes it by settings that
# differ in one thing, and prints a table of how the int8 files answer PublicTest's faces.
#
#   models/quantization-table.sh models/mien-slim.safetensors fer2013.csv.xz [FACES]
#
# A row takes a minute or two of two cores. Float and int8 see the same faces, so that a difference
# of theirs is known more closely than either: about 0.2 points, where 2 % of 3,579 answers differ.
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0" >&2; exit 2; }
checkpoint=$(realpath "$1") data=$(realpath "$2") faces=${3:-3579}
cd "$(dirname "$0")/.."
cargo build --release --features lab --bin mien-lab
out=$(mktemp -d)
trap 'rm -r "$out"' EXIT

echo "| | float | int8 | expressions alike | genders alike | rms error of a logit |"
echo "|---|---|---|---|---|---|"
row() {
    local name=$1
    shift
    target/release/mien-lab quantize "$checkpoint" -o "$out/model.tflite" --calibrate "$data" \
        --labels "$data" --compare "$faces" --validation 1 --force "$@" >"$out/said"
    sed -nE "s/.*PublicTest faces: float ([0-9.]+) % right, int8 ([0-9.]+) %; they agree on \
([0-9.]+) % of expressions and ([0-9.]+) % of genders; .* ([0-9.]+)$/| $name | \1 % | \2 % | \3 % | \4 % | \5 |/p" "$out/said"
}
plain=(--ranges min-max --no-equalization --no-bias-correction --rounding nearest)
row 'nothing: ranges from least to greatest' "${plain[@]}"
row 'equalized' --ranges min-max --no-bias-correction --rounding nearest
row 'biases corrected' --ranges min-max --no-equalization --rounding nearest
row 'rounded adaptively' --ranges min-max --no-equalization --no-bias-correction
for ranges in 'percentile without outliers' 'entropy by divergence' 'mse by squared error' 'auto by what is felt'; do
    row "ranges ${ranges#* }" --ranges "${ranges%% *}" --no-equalization --no-bias-correction --rounding nearest
done
row '**the default**: equalized, corrected, squared error, rounded adaptively'
row 'the default, rounded to nearest' --rounding nearest
row 'the default, ranges by what is felt' --ranges auto
row 'the default, both' --ranges auto --rounding nearest
