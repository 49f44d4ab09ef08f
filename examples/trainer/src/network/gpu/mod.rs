//! The network on the GPU. Data, activations and gradients stay there; a step is recorded into one
//! command encoder together with the optimizer's, and nothing is read back before a score is due.

mod batches;
mod builder;
mod kernel;
mod layers;
mod limits;
mod precision;
mod waiting;

use std::collections::VecDeque;

use anyhow::{Context as _, Result, bail};
#[cfg(not(target_family = "wasm"))]
use wgpu_optim::Save;
use wgpu_optim::wgpu::{self, util::DeviceExt};
use wgpu_optim::{BufferRange, Checkpoint, Gpu, Optimizer, Stats};

#[cfg(not(target_family = "wasm"))]
use super::Write;
use super::architecture::Matrix;
use super::{
    Activation, Architecture, Loss, Network, Registered, Score, Waiting, Weights, batch_count,
};
use crate::data::Dataset;
use batches::{batch_slots, bind_batches};
use builder::Builder;
use kernel::{Access, Dispatch, Kernel, Kernels, Workgroups};
use layers::Context;
use limits::storage;
use precision::Precision;
pub use waiting::finished;

/// Enough to keep the device busy while the next ones are recorded, few enough that the progress
/// bar moves.
const MOST_STEPS_PER_SUBMISSION: usize = 16;
/// Rows times multiplications: what a slow GPU does in a fraction of the second or two after which its
/// driver gives a submission up.
const WORK_PER_SUBMISSION: usize = 1 << 30;
const SUBMISSIONS_IN_FLIGHT: usize = 3;
/// What every matrix product begins with.
const MATMUL: &str = include_str!("../shaders/matmul.wgsl");
/// Rows and columns of a workgroup in matmul.wgsl.
const MATMUL_TILE: u32 = 64;
/// Rows and columns of a workgroup in the shaders that take each number once.
const COPY_TILE: u32 = 16;

pub struct GpuNetwork<'g> {
    gpu: &'g Gpu,
    pub(super) registered: Registered,
    pub(super) optimizer: Optimizer,
    pub(super) train: Phase,
    test: Phase,
    sum: Kernel,
    /// `@group(0)` of every kernel: which rows of the epoch are the batch, at a dynamic offset per
    /// batch.
    batches: wgpu::BindGroup,
    batch_stride: u32,
    /// Commands that are recorded but not yet submitted, and how many batches they hold.
    encoder: Option<wgpu::CommandEncoder>,
    recorded: usize,
    steps_per_submission: usize,
    in_flight: VecDeque<wgpu::SubmissionIndex>,
    /// Gradients that add up beside the optimizer's, which zeroes its own alone.
    sums: Vec<BufferRange>,
}

/// Training or testing: what to dispatch for each of its batches.
pub(super) struct Phase {
    count: usize,
    batch_size: usize,
    /// The first batch's place among all batches of both phases.
    first_batch: usize,
    order: wgpu::Buffer,
    program: Vec<Dispatch>,
    /// How many dispatches of the program score a batch. The others make its gradient.
    scoring: usize,
    /// Loss and hit of each sample, in the epoch's order.
    pub(super) scores: BufferRange,
}

impl Phase {
    fn batch_count(&self) -> usize {
        batch_count(self.count, self.batch_size)
    }

    fn rows(&self, batch: usize) -> u32 {
        (self.count - batch * self.batch_size).min(self.batch_size) as u32
    }
}

impl<'g> GpuNetwork<'g> {
    /// Fails with a sentence if the network or a batch is too large for the device.
    #[cfg(not(target_family = "wasm"))]
    pub fn new(
        gpu: &'g Gpu,
        registered: Registered,
        data: &Dataset,
        batch_size: usize,
        seed: u64,
    ) -> Result<Self> {
        pollster::block_on(Self::new_async(gpu, registered, data, batch_size, seed))
    }

    /// [`new`](Self::new), for programs that may not wait.
    pub async fn new_async(
        gpu: &'g Gpu,
        registered: Registered,
        data: &Dataset,
        batch_size: usize,
        seed: u64,
    ) -> Result<Self> {
        let out_of_memory = gpu.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        // A buffer that memory was too short for is invalid wherever it is used.
        let invalid = gpu.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let network = Self::build(gpu, registered, data, batch_size, seed).await;
        let invalid = invalid.pop().await;
        if out_of_memory.pop().await.is_some() {
            bail!(
                "{} has too little memory for this network, data set and --batch-size.",
                gpu.info.name
            );
        }
        if let Some(error) = invalid {
            bail!("{} refuses this network: {error}", gpu.info.name);
        }
        network
    }

    async fn build(
        gpu: &'g Gpu,
        registered: Registered,
        data: &Dataset,
        batch_size: usize,
        seed: u64,
    ) -> Result<Self> {
        let device = &gpu.device;
        limits::check_sizes(device, &registered, data)?;
        let options = registered.options.clone();
        let optimizer = Optimizer::new_async(device, &registered.layout, options).await?;
        let architecture = &registered.architecture;
        let weights = architecture.initial_weights(seed);
        for (parameters, weights) in registered.parameters().zip(&weights) {
            optimizer.write_param(&gpu.queue, parameters.weight, weights)?;
        }

        let test_rows = limits::test_rows(device, architecture, data.test.count, batch_size);
        let work = test_rows.saturating_mul(work_per_row(architecture)).max(1);
        let train_batches = batch_count(data.train.count, batch_size);
        let slots = batch_slots(data.train.count, batch_size)
            .chain(batch_slots(data.test.count, test_rows));
        let batch_stride = device.limits().min_storage_buffer_offset_alignment.max(16);
        let (batch_layout, batches) = bind_batches(device, slots, batch_stride)?;

        let context = Context {
            device,
            registered: &registered,
            optimizer: &optimizer,
            precision: Precision::new(device, &registered, &optimizer)?,
            kernels: Kernels::new(device, &batch_layout),
            rows: batch_size.max(test_rows),
            train_rows: batch_size,
        };
        let builder = Builder::new(gpu, context)?;
        let train = builder.phase(&data.train, batch_size, 0, true)?;
        let test = builder.phase(&data.test, test_rows, train_batches, false)?;
        let shader = include_str!("../shaders/sum.wgsl");
        let storage = [Access::Read, Access::Write];
        let sum = builder.context.kernels.get("sum", &[shader], &storage);
        let sums = match registered.adds_gradients() {
            true => builder.context.precision.beside(),
            false => Vec::new(),
        };
        Ok(Self {
            gpu,
            train,
            test,
            batches,
            batch_stride,
            encoder: None,
            sum,
            recorded: 0,
            steps_per_submission: (WORK_PER_SUBMISSION / work).clamp(1, MOST_STEPS_PER_SUBMISSION),
            in_flight: VecDeque::new(),
            sums,
            optimizer,
            registered,
        })
    }

    /// Makes room for one more batch: submits what is recorded if that is enough.
    fn begin_batch(&mut self) -> Result<()> {
        if self.recorded >= self.steps_per_submission {
            self.submit()?;
        }
        self.recorded += 1;
        Ok(())
    }

    /// Submits what is recorded, and waits while too much is in flight.
    fn submit(&mut self) -> Result<()> {
        self.recorded = 0;
        let Some(encoder) = self.encoder.take() else {
            return Ok(());
        };
        self.in_flight
            .push_back(self.gpu.queue.submit([encoder.finish()]));
        if self.in_flight.len() > SUBMISSIONS_IN_FLIGHT {
            let submission_index = self.in_flight.pop_front();
            self.gpu.device.poll(wgpu::PollType::Wait {
                submission_index,
                timeout: None,
            })?;
        }
        Ok(())
    }

    /// Records what scores the test data with the weights that are for it.
    fn score_test_batches(&mut self) -> Result<()> {
        let encoder = self.encoder.get_or_insert_with(|| new_encoder(self.gpu));
        self.optimizer.evaluate(encoder)?;
        for batch in 0..self.test.batch_count() {
            self.begin_batch()?;
            let encoder = self.encoder.get_or_insert_with(|| new_encoder(self.gpu));
            record(
                encoder,
                &self.test,
                &self.test.program,
                batch,
                &self.batches,
                self.batch_stride,
            );
        }
        let encoder = self.encoder.get_or_insert_with(|| new_encoder(self.gpu));
        self.optimizer.train(encoder)?;
        Ok(())
    }

    /// Adds up a phase's scores on the device and reads the sum.
    async fn score(&mut self, phase: impl Fn(&Self) -> &Phase) -> Result<Score> {
        let device = &self.gpu.device;
        let mut encoder = self.encoder.take().unwrap_or_else(|| new_encoder(self.gpu));
        let total = BufferRange::whole(&storage(device, "total", 2));
        let Phase { count, scores, .. } = phase(self);
        let count = *count;
        let sum = self.sum.dispatch(
            device,
            [count as u32, 0, 0, 0],
            &[scores.binding(), total.binding()],
            [Workgroups::ONE; 3],
        );
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            pass.set_bind_group(0, &self.batches, &[0]);
            sum.record(&mut pass, 0);
        }
        self.encoder = Some(encoder);
        self.submit()?;
        let total = waiting::read(self.gpu, &total).await?;
        let [loss, accuracy] = [total[0], total[1]].map(|sum| f64::from(sum) / count as f64);
        Ok(Score { loss, accuracy })
    }
}

/// Multiplications of a forward pass.
fn work_per_row(architecture: &Architecture) -> usize {
    let of = |matrix: Matrix| {
        let weights = (matrix.inputs + 1).saturating_mul(matrix.outputs);
        weights.saturating_mul(matrix.positions)
    };
    architecture
        .matrices()
        .map(of)
        .fold(0, usize::saturating_add)
}

fn new_encoder(gpu: &Gpu) -> wgpu::CommandEncoder {
    gpu.device
        .create_command_encoder(&wgpu::CommandEncoderDescriptor {
            label: Some("train"),
        })
}

fn record(
    encoder: &mut wgpu::CommandEncoder,
    phase: &Phase,
    program: &[Dispatch],
    batch: usize,
    batches: &wgpu::BindGroup,
    stride: u32,
) {
    let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
    pass.set_bind_group(0, batches, &[(phase.first_batch + batch) as u32 * stride]);
    for dispatch in program {
        dispatch.record(&mut pass, phase.rows(batch));
    }
}

impl Network for GpuNetwork<'_> {
    fn start_epoch(&mut self, order: &[u32]) -> Result<()> {
        // A write lands before the next submission: what the last epoch left unsubmitted has to go
        // first.
        self.submit()?;
        self.gpu
            .queue
            .write_buffer(&self.train.order, 0, bytemuck::cast_slice(order));
        let encoder = self.encoder.get_or_insert_with(|| new_encoder(self.gpu));
        let BufferRange {
            buffer,
            offset,
            size,
        } = &self.train.scores;
        encoder.clear_buffer(buffer, *offset, Some(*size));
        Ok(())
    }

    fn backward(&mut self, batch: usize) -> Result<()> {
        self.begin_batch()?;
        let encoder = self.encoder.get_or_insert_with(|| new_encoder(self.gpu));
        record(
            encoder,
            &self.train,
            &self.train.program,
            batch,
            &self.batches,
            self.batch_stride,
        );
        Ok(())
    }

    fn score_batch(&mut self, batch: usize) -> Result<()> {
        self.begin_batch()?;
        let encoder = self.encoder.get_or_insert_with(|| new_encoder(self.gpu));
        record(
            encoder,
            &self.train,
            &self.train.program[..self.train.scoring],
            batch,
            &self.batches,
            self.batch_stride,
        );
        Ok(())
    }

    fn poison(&mut self) -> Result<()> {
        let nan = wgpu::util::BufferInitDescriptor {
            label: Some("NaN"),
            // In f32, bf16 and f16.
            contents: bytemuck::bytes_of(&0x7fc0_7fc0_u32),
            usage: wgpu::BufferUsages::COPY_SRC,
        };
        let nan = self.gpu.device.create_buffer_init(&nan);
        let first = self.registered.parameters().next();
        let first = first.context("A network without parameters has no gradient to poison.")?;
        let gradient = self.optimizer.grad(first.weight)?;
        // A write by the queue would land before the backward pass that is recorded.
        let encoder = self.encoder.get_or_insert_with(|| new_encoder(self.gpu));
        encoder.copy_buffer_to_buffer(&nan, 0, &gradient.buffer, gradient.offset, 4);
        Ok(())
    }

    fn update(&mut self, part: f64) -> Result<()> {
        for &(group, lr) in &self.registered.groups {
            self.optimizer.set_lr(group, part * lr)?;
            self.optimizer.refresh(group)?;
        }
        let encoder = self.encoder.get_or_insert_with(|| new_encoder(self.gpu));
        self.optimizer.step(encoder)?;
        for sum in &self.sums {
            encoder.clear_buffer(&sum.buffer, sum.offset, Some(sum.size));
        }
        Ok(())
    }

    fn finish_async(&mut self) -> Waiting<'_, ()> {
        Box::pin(async move {
            self.submit()?;
            waiting::finished(self.gpu).await
        })
    }

    fn train_score_async(&mut self) -> Waiting<'_, Score> {
        Box::pin(self.score(|network| &network.train))
    }

    fn test_score_async(&mut self) -> Waiting<'_, Score> {
        Box::pin(async move {
            self.score_test_batches()?;
            self.score(|network| &network.test).await
        })
    }

    fn stats_async(&mut self) -> Waiting<'_, Stats> {
        Box::pin(async move {
            let encoder = self.encoder.get_or_insert_with(|| new_encoder(self.gpu));
            let snapshot = self.optimizer.snapshot(encoder)?;
            loop {
                self.finish_async().await?;
                // Another thread that polls the device may have been told first, and not yet passed it on.
                if let Some(stats) = snapshot.get()? {
                    return Ok(stats);
                }
            }
        })
    }

    fn weights_async(&mut self) -> Waiting<'_, Vec<Weights>> {
        Box::pin(async move {
            let encoder = self.encoder.get_or_insert_with(|| new_encoder(self.gpu));
            self.optimizer.evaluate(encoder)?;
            self.submit()?;
            let mut weights = Vec::new();
            for parameters in self.registered.parameters() {
                let of = |tensor| waiting::read_param(self.gpu, &self.optimizer, tensor);
                weights.push(Weights {
                    weight: of(parameters.weight).await?,
                    bias: of(parameters.bias).await?,
                });
            }
            let encoder = self.encoder.get_or_insert_with(|| new_encoder(self.gpu));
            self.optimizer.train(encoder)?;
            Ok(weights)
        })
    }

    #[cfg(not(target_family = "wasm"))]
    fn save(&mut self, save: &Save) -> Result<Write> {
        let encoder = self.encoder.get_or_insert_with(|| new_encoder(self.gpu));
        let saving = self.optimizer.save(encoder, save)?;
        self.submit()?;
        let queue = self.gpu.queue.clone();
        Ok(Box::new(move |path| saving.write_blocking(&queue, path)))
    }

    fn load(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        Ok(self.optimizer.load(&self.gpu.queue, checkpoint)?)
    }

    fn load_weights(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        Ok(self.optimizer.load_params(&self.gpu.queue, checkpoint)?)
    }
}

impl Activation {
    fn wgsl(self) -> &'static str {
        match self {
            Self::Relu => include_str!("../shaders/activations/relu.wgsl"),
            Self::Tanh => include_str!("../shaders/activations/tanh.wgsl"),
            Self::Sigmoid => include_str!("../shaders/activations/sigmoid.wgsl"),
            Self::Gelu => include_str!("../shaders/activations/gelu.wgsl"),
        }
    }
}

impl Loss {
    fn wgsl(self) -> &'static str {
        match self {
            Self::CrossEntropy => include_str!("../shaders/losses/cross_entropy.wgsl"),
            Self::BinaryCrossEntropy => include_str!("../shaders/losses/binary_cross_entropy.wgsl"),
            Self::Mse => include_str!("../shaders/losses/mean_squared_error.wgsl"),
        }
    }
}
