#!/bin/sh
# Makes a folder with all that training on a machine with an NVIDIA GPU needs: the recipe, a compact
# copy of its data and checkpoints, and mien-lab. That machine needs neither Rust nor a network.
#
#   deploy/gpu-bundle.sh models/mien-slim.recipe.toml DATA_FOLDER bundle
#
# There, one command trains; started again, it goes on after the last whole epoch:
#
#   bundle/train.sh RUN_FOLDER [--set train.epochs=300 …]
set -eu
[ $# -eq 3 ] || { sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0" >&2; exit 2; }
recipe=$(realpath "$1") data=$(realpath "$2") bundle=$(realpath -m "$3")
cd "$(dirname "$0")/.."
cargo build --release --features cuda --bin mien-lab
lab=target/release/mien-lab
"$lab" pack "$recipe" --data-dir "$data" --out "$bundle"
strip -o "$bundle/mien-lab" "$lab"
xz --force "$bundle/mien-lab"
cat >"$bundle/train.sh" <<'END'
#!/bin/sh
set -eu
[ $# -ge 1 ] || { echo "usage: $0 RUN_FOLDER [--set KEY=VALUE …]" >&2; exit 2; }
bundle=$(dirname "$0") out=$1
shift
[ -x "$bundle/mien-lab" ] || { xz -dk "$bundle/mien-lab.xz" && chmod +x "$bundle/mien-lab"; }
exec "$bundle/mien-lab" train "$bundle/recipe.toml" --device cuda --out "$out" "$@"
END
chmod +x "$bundle/train.sh"
du -ch "$bundle"/* | sed 's/\t/  /'
