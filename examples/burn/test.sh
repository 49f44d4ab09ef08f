#!/bin/sh
# Everything that must hold of this package: formatting, lints, documentation, tests. Sets up what is missing.
#
#     sh examples/burn/test.sh              # with burn's fusion
#     sh examples/burn/test.sh unfused      # without, in a target folder of its own: burn is compiled once more
#
# The first run compiles burn, which takes a quarter of an hour on two cores and 4 GB of disk.
set -eu
cd "$(dirname "$0")"

say() { printf '\n== %s\n' "$1"; }

features=
target=target
if [ "${1:-}" = unfused ]; then
    features=--no-default-features
    target=target/unfused
elif [ $# -gt 0 ]; then
    echo "test.sh: $1 is unknown; expected unfused, or nothing" >&2
    exit 1
fi

# Burn needs a newer Rust than the crate.
wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
have=$(rustc --version | cut -d ' ' -f 2)
if [ "$(printf '%s\n' "$wanted" "$have" | sort -V | head -n 1)" != "$wanted" ]; then
    echo "test.sh: burn needs Rust $wanted, this is $have (rustup update stable)" >&2
    exit 1
fi
sh ../../tests/vulkan-driver.sh

say "Formatting"
cargo fmt --check

say "Tests"
# One command for all, since each other one would compile burn anew.
cargo test --locked --target-dir "$target" $features

say "The example"
cargo run --locked --target-dir "$target" $features --example digits

say "Lints and documentation"
cargo clippy --locked --target-dir "$target" $features --all-targets -- -D warnings
RUSTDOCFLAGS="-D warnings" cargo doc --locked --target-dir "$target" $features --no-deps --lib
# From here on the root's test.sh can check this package in no time.
touch "$target/linted"

say "All is well"
