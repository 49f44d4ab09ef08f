#!/bin/sh
# Everything that must hold: formatting, lints, documentation, all tests. Sets up what is missing.
#
#     sh test.sh
set -eu
cd "$(dirname "$0")"

say() { printf '\n== %s\n' "$1"; }

# Where a Vulkan driver announces itself.
has_vulkan_driver() {
    [ -n "${VK_DRIVER_FILES:-}${VK_ICD_FILENAMES:-}" ] && return 0
    for folder in /usr/share/vulkan/icd.d /etc/vulkan/icd.d /usr/local/share/vulkan/icd.d \
        "${HOME:-/}/.local/share/vulkan/icd.d" /run/opengl-driver/share/vulkan/icd.d; do
        for file in "$folder"/*.json; do
            [ -e "$file" ] && return 0
        done
    done
    return 1
}

if [ "$(uname -s)" = Linux ] && ! has_vulkan_driver; then
    say "No Vulkan driver: installing Mesa's software driver"
    if ! command -v apt-get >/dev/null; then
        echo "test.sh: there is no Vulkan driver; install one (Mesa's lavapipe will do: the package mesa-vulkan-drivers or vulkan-swrast)" >&2
        exit 1
    fi
    sudo=
    if [ "$(id -u)" != 0 ]; then
        if ! command -v sudo >/dev/null; then
            echo "test.sh: there is no Vulkan driver and no sudo; as root: apt-get install mesa-vulkan-drivers libvulkan1" >&2
            exit 1
        fi
        sudo=sudo
    fi
    if ! { $sudo apt-get update -q && $sudo env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -q mesa-vulkan-drivers libvulkan1; }; then
        echo "test.sh: could not install a Vulkan driver; by hand: apt-get install mesa-vulkan-drivers libvulkan1" >&2
        exit 1
    fi
fi

say "Formatting"
cargo fmt --all --check
# The rules are declared by a macro, which cargo fmt does not look into.
rustfmt --check --edition 2024 src/rules/*.rs

say "Lints"
# `incompatible_msrv` names what the standard library did not have in the `rust-version` of Cargo.toml.
cargo clippy --workspace --all-targets -- -D warnings -D clippy::incompatible_msrv

say "Documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --lib

say "The library in the oldest Rust that it promises"
oldest=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
toolchain=$(rustup toolchain list 2>/dev/null | sed 's/ .*//' | grep "^$oldest[.-]" | head -n 1) || true
if [ -z "$toolchain" ]; then
    echo "not run: there is no toolchain of Rust $oldest (rustup toolchain install $oldest)"
else
    RUSTFLAGS="-D warnings" rustup run "$toolchain" cargo check --lib --target-dir target/oldest
fi

say "The library for the web"
web=wasm32-unknown-unknown
if ! rustup target add "$web" >/dev/null 2>&1 && [ ! -d "$(rustc --print target-libdir --target "$web")" ]; then
    echo "not run: this toolchain has no $web (rustup target add $web)"
else
    RUSTFLAGS="-D warnings" cargo check --lib --target "$web" --target-dir target/web
fi

say "Tests: library, integration, examples"
cargo test --workspace --all-targets

say "Tests: documentation"
cargo test --workspace --doc

say "All is well"
