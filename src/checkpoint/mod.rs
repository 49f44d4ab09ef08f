//! Checkpoints: an optimizer in one `.safetensors` file.
//!
//! A file has PyTorch's flattened names: `state.<tensor>.<slot>` and `state.<tensor>.step` for every
//! tensor, `ema.<tensor>` for the [average](crate::Options::average), and `model.<tensor>` for the
//! parameters. The numbers are little-endian. State and parameters are as their group stores them
//! ([`Formats`](crate::Formats)): F32, BF16, or for int8 U8 of the shape `[rows, 80]`. A row is 64 elements:
//! the scales of four blocks of 16, four bytes each, and 64 codes, zeros beyond the last element;
//! `src/format/int8.rs` defines both. Parameters in bf16+8 and bf16+16 are BF16, and `residual.<tensor>` has
//! the I8 or I16 that lie beside them; `src/format/bf16_plus_8.rs` and `bf16_plus_16.rs` define these. Its
//! `__metadata__` has these texts:
//!
//! - `format` is `"wgpu-optim"`, and `version` is `"1"`.
//! - `optimizer` is JSON: the crate's version, each group's rule, hyperparameters, tensors, learning
//!   rate and counts of steps, the options, the loss scale and the statistics.
//! - `user` is JSON: the caller's own texts by name.
//! - `checksums` is JSON: the CRC-32 of each tensor's bytes, by name, as eight hexadecimal digits.
//! - `checksum` is the CRC-32 of `optimizer`, `user` and `checksums`, each followed by a line feed.

mod contents;
mod description;
#[cfg(not(target_family = "wasm"))]
mod file;
mod header;
mod last_row;
mod matching;
mod reader;
mod writer;

use std::collections::BTreeMap;

pub(crate) use contents::{Entry, Part, entries};
pub(crate) use description::{Description, GroupDescription, HostSide};
#[cfg(not(target_family = "wasm"))]
pub(crate) use file::replace;
pub(crate) use last_row::LastRow;
pub(crate) use matching::{Matching, exact, params, partial};
pub(crate) use reader::SLICE;
pub(crate) use safetensors::Dtype;
pub(crate) use writer::{Outline, Writer};

pub use matching::Loaded;
pub use reader::Checkpoint;

/// What a checkpoint holds beside the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Save {
    /// Whether it holds the parameters. Save them elsewhere if not: state without them is of no use.
    pub params: bool,
    /// Texts of your own by name, such as the epoch, the seed and the position in the data.
    pub user: BTreeMap<String, String>,
}

impl Default for Save {
    fn default() -> Self {
        Self {
            params: true,
            user: BTreeMap::new(),
        }
    }
}
