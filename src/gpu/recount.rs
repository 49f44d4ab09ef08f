//! Brings step counts that were set to the device without a step.

use super::{
    begin_step::BeginStep,
    binding::{bind, entry},
    pipelines::Pipelines,
    records::Recorded,
};
use crate::{Error, Options, buffer::guarded, progress::Progress, shader};

/// The entry point `recount` of `begin_step.wgsl`. A switch to evaluation needs the count, and only
/// the device knows whether a step has brought it.
#[derive(Debug)]
pub(super) struct Recount {
    pipeline: wgpu::ComputePipeline,
    bind_group: wgpu::BindGroup,
}

impl Recount {
    pub async fn new(
        device: &wgpu::Device,
        pipelines: &mut Pipelines,
        begin_step: &BeginStep,
        options: &Options,
    ) -> Result<Self, Error> {
        let text = shader::begin_step(options.skips());
        let pipeline = pipelines.compile(device, &text, "recount").await?;
        let buffers = [
            (0, &begin_step.recorded),
            (2, &begin_step.stats),
            (3, &begin_step.steps),
        ];
        let entries = buffers.map(|(binding, buffer)| entry(binding, buffer, 0, buffer.size()));
        let bind_group = guarded(device, "the bindings that bring step counts", || {
            bind(device, &pipeline, "recount", &entries)
        });
        Ok(Self {
            bind_group: bind_group.await??,
            pipeline,
        })
    }

    /// Brings the counts of all groups on their way. For `kept` see [`BeginStep::upload`].
    pub fn upload(
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

    pub fn dispatch(&self, pass: &mut wgpu::ComputePass<'_>) {
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.bind_group, &[]);
        pass.dispatch_workgroups(1, 1, 1);
    }
}
