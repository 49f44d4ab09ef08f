#!/bin/sh
# Tests the library in a headless Chromium. Needs the target wasm32-unknown-unknown, python3 and Chromium.
set -eu
cd "$(dirname "$0")"

target=wasm32-unknown-unknown
if ! rustup target add "$target" >/dev/null 2>&1 && [ ! -d "$(rustc --print target-libdir --target "$target")" ]; then
    echo "not run: this toolchain has no $target (rustup target add $target)"
    exit 0
fi
browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome) || {
    echo "not run: there is no Chromium (Debian: apt-get install chromium)"
    exit 0
}
command -v python3 >/dev/null || {
    echo "not run: there is no python3"
    exit 0
}

for package in . ../../examples/web/bindgen; do
    cargo fetch --quiet --manifest-path "$package/Cargo.toml" || {
        echo "not run: the packages that $package needs cannot be had"
        exit 0
    }
done

cargo build --quiet --target "$target"
rm -rf target/www
cp -r www target/www
cargo run --quiet --manifest-path ../../examples/web/bindgen/Cargo.toml --target-dir ../../examples/web/bindgen/target -- \
    "target/$target/debug/wgpu_optim_web_test.wasm" target/www/pkg
# The longest that comes without a word of progress is the making of 60 optimizers.
python3 browse.py "$browser" target/www 300
