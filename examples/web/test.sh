#!/bin/sh
# Builds the page and uses it in Chromium, with and without WebGPU, and in Firefox where it is installed. Holds its
# races against `landscape`'s and its trainings against `compare`'s. Sets up what is missing, Chromium too.
#
#     sh examples/web/test.sh
set -eu
cd "$(dirname "$0")"

missing() {
    echo "not run: $1"
    exit 0
}

command -v python3 >/dev/null || missing "there is no python3 to serve the page and to drive a browser (apt-get install python3)"
sh browser/install.sh
python3 -c 'import sys; sys.path.insert(0, "browser"); import devtools; sys.exit(devtools.find() is None)' ||
    missing "there is no Chromium (apt-get install chromium; or CHROMIUM=PATH)"
if [ ! -d "$(rustc --print target-libdir --target wasm32-unknown-unknown)" ] && ! command -v rustup >/dev/null; then
    missing "this toolchain has no wasm32-unknown-unknown, and there is no rustup to add it"
fi
for package in . bindgen; do
    cargo fetch --manifest-path "$package/Cargo.toml" || missing "the packages that $package needs cannot be had"
done

sh build.sh
cargo fmt --check
cargo clippy --release --target wasm32-unknown-unknown --target-dir target -- -D warnings
cargo build --manifest-path ../../Cargo.toml --example landscape --example compare --example bench
python3 browser/drive.py dist "${CARGO_TARGET_DIR:-../../target}/debug/examples" target/pictures
