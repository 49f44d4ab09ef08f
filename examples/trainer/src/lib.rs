//! Data sets, networks on the GPU and on the CPU, and the loop that trains them. The examples
//! `train`, `compare` and `search` are made of it.

pub mod candidate;
pub mod clock;
pub mod data;
pub mod defaults;
pub mod flags;
pub mod memory;
pub mod network;
pub mod progress;
pub mod setting;
pub mod training;
