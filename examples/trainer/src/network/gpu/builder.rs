//! Puts layers and data together into the program of each phase.

use anyhow::{Context as _, Result};
use wgpu_optim::{BufferRange, Gpu, wgpu};

use super::kernel::{Access, Dispatch, Workgroups};
use super::layers::{self, Below, Context, Signal, Stage};
use super::limits::{self, largest_binding, storage};
use super::{COPY_TILE, Phase};
use crate::data::Samples;

/// Rows of a workgroup in score.wgsl.
const SCORE_ROWS: u32 = 64;
const CURVATURE_THREADS: u32 = 256;
const MOST_CURVATURE_WORKGROUPS: u32 = 1024;

/// A batch's rows on their way through the network; both phases use the same buffers.
pub struct Builder<'a> {
    gpu: &'a Gpu,
    pub context: Context<'a>,
    /// `[rows, features]`
    inputs: wgpu::Buffer,
    /// `[rows, outputs]`
    targets: wgpu::Buffer,
    stages: Vec<Stage>,
}

impl<'a> Builder<'a> {
    pub fn new(gpu: &'a Gpu, context: Context<'a>) -> Result<Self> {
        let architecture = &context.registered.architecture;
        limits::check_rows(context.device, architecture, context.rows)?;
        let inputs = context.buffer("inputs", architecture.input().numbers())?;
        let targets = context.buffer("targets", architecture.output().numbers())?;
        let mut stages: Vec<Stage> = Vec::new();
        for index in 0..architecture.layers().len() {
            let signal = stages.last().map(|stage| &stage.signal);
            let inputs = signal.map_or(&inputs, |signal| &signal.after);
            stages.push(layers::build(&context, index, Below { inputs, signal })?);
        }
        Ok(Self {
            gpu,
            context,
            inputs,
            targets,
            stages,
        })
    }

    pub fn phase(
        &self,
        samples: &Samples,
        batch_size: usize,
        first_batch: usize,
        backward: bool,
    ) -> Result<Phase> {
        let device = self.context.device;
        let order = storage(device, "order", samples.count);
        let as_given: Vec<u32> = (0..samples.count as u32).collect();
        self.gpu
            .queue
            .write_buffer(&order, 0, bytemuck::cast_slice(&as_given));
        let scores = storage(device, "scores", 2 * samples.count);
        let architecture = &self.context.registered.architecture;
        let (features, outputs) = (
            architecture.input().numbers(),
            architecture.output().numbers(),
        );
        let top = self.stages.last().context("A network needs layers.")?;

        let mut program = self.gather(&order, &samples.inputs, features, &self.inputs);
        program.extend(self.gather(&order, &samples.targets, outputs, &self.targets));
        let Context {
            precision,
            registered,
            kernels,
            ..
        } = &self.context;
        program.extend(precision.widen(device, registered, kernels)?);
        for stage in &self.stages {
            program.extend_from_slice(&stage.forward);
        }
        program.push(self.score(&top.signal, &scores, outputs));
        let scoring = program.len();
        if backward {
            for stage in self.stages.iter().rev() {
                program.extend_from_slice(&stage.backward);
            }
            program.extend(self.curvatures()?);
            program.extend(precision.narrow(device, registered, kernels)?);
        }
        Ok(Phase {
            count: samples.count,
            batch_size,
            first_batch,
            order,
            program,
            scoring,
            scores: BufferRange::whole(&scores),
        })
    }

    /// Uploads a matrix of the data set, in as many pages as the device's binding limit asks for.
    fn gather(
        &self,
        order: &wgpu::Buffer,
        matrix: &[f32],
        columns: usize,
        gathered: &wgpu::Buffer,
    ) -> Vec<Dispatch> {
        use Access::{Read, Write};
        let device = self.context.device;
        let shader = include_str!("../shaders/gather.wgsl");
        let kernel = self
            .context
            .kernels
            .get("gather", &[shader], &[Read, Read, Write]);
        let page_rows = (largest_binding(device) / columns).max(1);
        let pages = matrix.chunks(page_rows * columns).enumerate();
        let gather = |(index, page): (usize, &[f32])| {
            let samples = storage(device, "samples", page.len());
            self.gpu
                .queue
                .write_buffer(&samples, 0, bytemuck::cast_slice(page));
            let (first, rows) = (index * page_rows, page.len() / columns);
            kernel.dispatch(
                device,
                [columns as u32, first as u32, rows as u32, 0],
                &[
                    order.as_entire_binding(),
                    samples.as_entire_binding(),
                    gathered.as_entire_binding(),
                ],
                [
                    Workgroups::ONE,
                    Workgroups::PerRows(COPY_TILE),
                    Workgroups::ONE,
                ],
            )
        };
        pages.map(gather).collect()
    }

    fn score(&self, top: &Signal, scores: &wgpu::Buffer, outputs: usize) -> Dispatch {
        use Access::{Read, Write};
        let loss = self.context.registered.architecture.loss.wgsl();
        let kernel = self.context.kernels.get(
            "score",
            &[include_str!("../shaders/score.wgsl"), loss],
            &[Read, Read, Write, Write, Read],
        );
        kernel.dispatch(
            self.context.device,
            [0, outputs as u32, 0, 0],
            &[
                top.before.as_entire_binding(),
                self.targets.as_entire_binding(),
                top.delta.as_entire_binding(),
                scores.as_entire_binding(),
                self.context.optimizer.loss_scale().binding(),
            ],
            [
                Workgroups::ONE,
                Workgroups::PerRows(SCORE_ROWS),
                Workgroups::ONE,
            ],
        )
    }

    /// Fills what the rules take beside the gradient.
    fn curvatures(&self) -> Result<Vec<Dispatch>> {
        let Context {
            registered,
            optimizer,
            precision,
            kernels,
            device,
            ..
        } = &self.context;
        let shader = include_str!("../shaders/curvature.wgsl");
        let fill = |&(tensor, slot)| {
            let storage = [Access::Read, Access::Write];
            let kernel = kernels.get("curvature", &[shader], &storage);
            let count = registered.layout.element_count(tensor)? as u32;
            let workgroups = count.div_ceil(CURVATURE_THREADS);
            Ok(kernel.dispatch(
                device,
                [count, 0, 0, 0],
                &[
                    precision.gradients(tensor)?.binding(),
                    optimizer.state(tensor, slot)?.binding(),
                ],
                [
                    Workgroups::Fixed(workgroups.min(MOST_CURVATURE_WORKGROUPS)),
                    Workgroups::ONE,
                    Workgroups::ONE,
                ],
            ))
        };
        registered.curvatures.iter().map(fill).collect()
    }
}
