#!/bin/sh
# Trains a recipe on a machine with an NVIDIA GPU and Rust. Data: a folder that the recipe's paths
# start from, such as `mien-lab pack RECIPE --data-dir DATA --out packed` wrote.
#
#   deploy/train-on-gpu.sh models/mien-slim.recipe.toml packed runs/slim [--set train.epochs=60 …]
#
# Started again, it goes on after the last whole epoch.
set -eu
if [ $# -lt 3 ]; then
    echo "usage: $0 RECIPE DATA OUT [--set KEY=VALUE …]" >&2
    exit 2
fi
recipe=$(realpath "$1") data=$(realpath "$2") out=$(realpath -m "$3")
shift 3
cd "$(dirname "$0")/.."
exec cargo run --release --features cuda --bin mien-lab -- \
    train "$recipe" --data-dir "$data" --out "$out" --device cuda "$@"
