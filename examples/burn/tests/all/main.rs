//! The optimizer in burn's hands. One program, since burn takes long to link.

#[path = "../support/mod.rs"]
mod support;

mod against_burn;
mod buffers;
mod devices;
mod errors;
mod groups;
mod halves;
mod options;
mod records;
mod rules;
