#!/bin/sh
# Builds the page into dist/, a folder that any static host serves. Sets up what is missing.
#
#     sh examples/web/build.sh
set -eu
cd "$(dirname "$0")"

web=wasm32-unknown-unknown
say() { printf '\n== %s\n' "$1"; }

if [ ! -d "$(rustc --print target-libdir --target "$web")" ]; then
    say "The target for the web"
    if ! rustup target add "$web"; then
        echo "build.sh: this toolchain has no $web; with rustup: rustup target add $web" >&2
        exit 1
    fi
fi

say "The page's wasm"
cargo build --release --target "$web" --target-dir target

say "Its JavaScript"
cargo build --manifest-path bindgen/Cargo.toml --target-dir bindgen/target
rm -rf dist
mkdir -p dist/pkg
bindgen/target/debug/bindgen "target/$web/release/wgpu_optim_web.wasm" dist/pkg
cp page/* dist/

say "Sizes in bytes: as it is, and with gzip -9"
all=0
for file in dist/* dist/pkg/*; do
    [ -f "$file" ] || continue
    packed=$(gzip -9 -c "$file" | wc -c)
    all=$((all + packed))
    printf '%10d %10d  %s\n' "$(wc -c <"$file")" "$packed" "${file#dist/}"
done
printf '%10s %10d  all\n' '' "$all"
