#!/bin/sh
# Everything that must hold: formatting, lints, documentation, all tests. Sets up what is missing.
#
#     sh test.sh
set -eu
cd "$(dirname "$0")"

say() { printf '\n== %s\n' "$1"; }

sh tests/vulkan-driver.sh

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

say "The optimizer for burn"
burn="--manifest-path examples/burn/Cargo.toml --target-dir examples/burn/target --offline --locked"
if [ ! -e examples/burn/target/linted ]; then
    echo "not run: burn has not been compiled here; sh examples/burn/test.sh does that, and runs its tests"
elif ! cargo metadata --manifest-path examples/burn/Cargo.toml --offline --locked --format-version 1 \
    --filter-platform "$(rustc -vV | sed -n 's/^host: //p')" >/dev/null 2>&1; then
    echo "not run: burn's packages are not at hand; sh examples/burn/test.sh fetches them, and runs its tests"
else
    # shellcheck disable=SC2086
    cargo check $burn --all-targets
fi

say "All is well"
