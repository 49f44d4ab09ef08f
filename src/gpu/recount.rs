//! Brings step counts that were set to the device without a step: the entry point `recount` of
//! `begin_step.wgsl`. A switch to evaluation needs the count, and only the device knows whether a step
//! has brought it.

use super::{
    begin_step::BeginStep,
    binding::{RECORDED, STATS, STEPS, whole},
    records::Recorded,
    source::ShaderSource,
    unbound::Unbound,
};
use crate::{Error, Options, progress::Progress, shader};

/// The dispatch that takes the counts.
pub(super) fn recount(begin_step: &BeginStep, options: &Options) -> Unbound {
    let source = ShaderSource::new(shader::begin_step(options.skips()), "recount");
    let entries = [
        whole(RECORDED, &begin_step.recorded),
        whole(STATS, &begin_step.stats),
        whole(STEPS, &begin_step.steps),
    ];
    let what = "the bindings that bring step counts";
    Unbound::new(&source, what, "recount", &entries, [1, 1])
}

/// Brings the counts of all groups on their way. For `kept` see [`BeginStep::upload`].
pub(super) fn upload_counts(
    device: &wgpu::Device,
    encoder: &mut wgpu::CommandEncoder,
    begin_step: &BeginStep,
    progress: &[Progress],
    kept: impl wgpu::WasmNotSend + 'static,
) -> Result<(), Error> {
    let rows = progress.iter().map(Progress::origin);
    let rows: Vec<_> = rows.map(Recorded::resting).collect();
    begin_step.upload(device, encoder, &rows, kept)
}
