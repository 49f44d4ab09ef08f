//! The network on the GPU. Data, activations and gradients stay there; a step is recorded into one
//! command encoder together with the optimizer's, and nothing is read back before a score is due.

use std::collections::VecDeque;

use anyhow::{Context, Result, bail, ensure};
use wgpu_optim::wgpu::{self, util::DeviceExt};
use wgpu_optim::{BufferRange, Gpu, Optimizer, Stats, read_blocking};

use super::kernel::{Access, Dispatch, Kernel, Workgroups, buffer_entry};
use super::{Activation, Loss, Network, Registered, Score, batch_count};
use crate::data::{Dataset, Samples};

/// Enough to keep the device busy while the next ones are recorded, few enough that the progress
/// bar moves.
const MOST_STEPS_PER_SUBMISSION: usize = 16;
/// Rows times parameters: what a slow GPU does in a fraction of the second or two after which its
/// driver gives a submission up.
const WORK_PER_SUBMISSION: usize = 1 << 30;
const SUBMISSIONS_IN_FLIGHT: usize = 3;
/// Test data are scored in batches of so many rows, or of the training batch size where that is
/// larger.
const TEST_ROWS: usize = 512;
/// Rows and columns of a workgroup in matmul.wgsl, in gather.wgsl and bias_gradient.wgsl, and in
/// score.wgsl.
const MATMUL_TILE: u32 = 64;
const COPY_TILE: u32 = 16;
const SCORE_ROWS: u32 = 64;
/// Rows of a batch, or numbers in a layer, that Mesa's llvmpipe adds up: it ends a thread's loops after
/// 65 535 rounds and says nothing, and matmul.wgsl takes 43 of them for each 32.
const MOST_DEPTH: usize = 48_000;
/// Outputs that score.wgsl goes through there, up to four times.
const MOST_OUTPUTS: usize = 16_000;

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
    pub fn new(
        gpu: &'g Gpu,
        registered: Registered,
        data: &Dataset,
        batch_size: usize,
        seed: u64,
    ) -> Result<Self> {
        let out_of_memory = gpu.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        // A buffer that memory was too short for is invalid wherever it is used.
        let invalid = gpu.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let network = Self::build(gpu, registered, data, batch_size, seed);
        let invalid = pollster::block_on(invalid.pop());
        if pollster::block_on(out_of_memory.pop()).is_some() {
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

    fn build(
        gpu: &'g Gpu,
        registered: Registered,
        data: &Dataset,
        batch_size: usize,
        seed: u64,
    ) -> Result<Self> {
        let device = &gpu.device;
        check_sizes(device, &registered, data)?;
        let optimizer = Optimizer::new(device, &registered.layout, registered.options.clone())?;
        let weights = registered.architecture.initial_weights(seed);
        for (layer, weights) in registered.layers.iter().zip(&weights) {
            optimizer.write_param(&gpu.queue, layer.weight, weights)?;
        }

        let widest = registered.architecture.sizes.iter().max().unwrap_or(&1);
        let test_rows = TEST_ROWS
            .min(data.test.count)
            .min(largest_binding(device) / widest)
            .max(batch_size);
        let work = test_rows * registered.architecture.parameter_count();
        let train_batches = batch_count(data.train.count, batch_size);
        let slots = batch_slots(data.train.count, batch_size)
            .chain(batch_slots(data.test.count, test_rows));
        let batch_stride = device.limits().min_storage_buffer_offset_alignment.max(16);
        let (batch_layout, batches) = bind_batches(device, slots, batch_stride)?;

        let builder = Builder {
            gpu,
            registered: &registered,
            optimizer: &optimizer,
            kernels: Kernels::new(device, &batch_layout, &registered),
            rows: Buffers::new(device, &registered, batch_size.max(test_rows))?,
        };
        let train = builder.phase(&data.train, batch_size, 0, true)?;
        let test = builder.phase(&data.test, test_rows, train_batches, false)?;
        Ok(Self {
            gpu,
            train,
            test,
            batches,
            batch_stride,
            encoder: None,
            sum: builder.kernels.sum,
            recorded: 0,
            steps_per_submission: (WORK_PER_SUBMISSION / work).clamp(1, MOST_STEPS_PER_SUBMISSION),
            in_flight: VecDeque::new(),
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

    /// Adds up a phase's scores on the device and reads the sum.
    fn score(&mut self, phase: impl Fn(&Self) -> &Phase) -> Result<Score> {
        let device = &self.gpu.device;
        let mut encoder = self.encoder.take().unwrap_or_else(|| new_encoder(self.gpu));
        let total = BufferRange::whole(&storage(device, "total", 2));
        let Phase { count, scores, .. } = phase(self);
        let count = *count;
        let sum = self.sum.dispatch(
            device,
            [count as u32, 0, 0, 0],
            &[scores.binding(), total.binding()],
            1,
            Workgroups::Fixed(1),
        );
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            pass.set_bind_group(0, &self.batches, &[0]);
            sum.record(&mut pass, 0);
        }
        self.encoder = Some(encoder);
        self.submit()?;
        let total = read_blocking(&self.gpu.device, &self.gpu.queue, &total)?;
        let [loss, accuracy] = [total[0], total[1]].map(|sum| f64::from(sum) / count as f64);
        Ok(Score { loss, accuracy })
    }
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
            contents: bytemuck::bytes_of(&f32::NAN),
            usage: wgpu::BufferUsages::COPY_SRC,
        };
        let nan = self.gpu.device.create_buffer_init(&nan);
        let gradient = self.optimizer.grad(self.registered.layers[0].weight)?;
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
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        self.submit()?;
        self.gpu.device.poll(wgpu::PollType::wait_indefinitely())?;
        Ok(())
    }

    fn train_score(&mut self) -> Result<Score> {
        self.score(|network| &network.train)
    }

    fn test_score(&mut self) -> Result<Score> {
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
        self.score(|network| &network.test)
    }

    fn stats(&mut self) -> Result<Stats> {
        let encoder = self.encoder.get_or_insert_with(|| new_encoder(self.gpu));
        let snapshot = self.optimizer.snapshot(encoder)?;
        self.finish()?;
        let stats = snapshot.get()?;
        stats.context("The device has finished, but its statistics have not arrived.")
    }
}

/// The first row and the number of rows of each batch.
fn batch_slots(count: usize, batch_size: usize) -> impl Iterator<Item = [u32; 4]> {
    (0..count).step_by(batch_size).map(move |first| {
        let rows = batch_size.min(count - first);
        [first as u32, rows as u32, 0, 0]
    })
}

/// One slot per batch, written once: the epochs differ in their order only.
fn bind_batches(
    device: &wgpu::Device,
    slots: impl Iterator<Item = [u32; 4]>,
    stride: u32,
) -> Result<(wgpu::BindGroupLayout, wgpu::BindGroup)> {
    let mut contents = Vec::new();
    for slot in slots {
        let begin = contents.len();
        contents.extend_from_slice(bytemuck::cast_slice(&slot));
        contents.resize(begin + stride as usize, 0);
    }
    ensure!(
        u32::try_from(contents.len())
            .is_ok_and(|size| u64::from(size) <= device.limits().max_buffer_size),
        "An epoch of {} batches is too long for the device: choose a larger --batch-size.",
        contents.len() / stride as usize
    );
    let buffer = device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
        label: Some("batches"),
        contents: &contents,
        usage: wgpu::BufferUsages::STORAGE,
    });
    let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
        label: Some("batch"),
        entries: &[buffer_entry(0, Access::Read, true)],
    });
    let binding = wgpu::BufferBinding {
        buffer: &buffer,
        offset: 0,
        size: wgpu::BufferSize::new(16),
    };
    let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: Some("batch"),
        layout: &layout,
        entries: &[wgpu::BindGroupEntry {
            binding: 0,
            resource: wgpu::BindingResource::Buffer(binding),
        }],
    });
    Ok((layout, group))
}

/// The pipelines that the architecture needs, and no others: compiling takes most of the start-up
/// time.
struct Kernels {
    gather: Kernel,
    forward: Kernel,
    score: Kernel,
    /// Absent without hidden layers.
    backward: Option<Kernel>,
    /// Absent if no rule asks for a curvature.
    curvature: Option<Kernel>,
    weight_gradient: Kernel,
    bias_gradient: Kernel,
    sum: Kernel,
}

impl Kernels {
    fn new(device: &wgpu::Device, batch: &wgpu::BindGroupLayout, registered: &Registered) -> Self {
        use Access::{Read, Write};
        let kernel = |label: &str, parts: &[&str], storage: &[Access]| {
            Kernel::new(device, batch, label, &parts.concat(), storage)
        };
        let matmul = include_str!("shaders/matmul.wgsl");
        let activation = registered.architecture.activation.wgsl();
        let loss = registered.architecture.loss.wgsl();
        let adds = match registered.adds_gradients() {
            true => "const ADDS = true;\n",
            false => "const ADDS = false;\n",
        };
        let has_hidden = registered.layers.len() > 1;
        Self {
            gather: kernel(
                "gather",
                &[include_str!("shaders/gather.wgsl")],
                &[Read, Read, Write],
            ),
            forward: kernel(
                "forward",
                &[matmul, include_str!("shaders/forward.wgsl"), activation],
                &[Read, Read, Read, Write, Write],
            ),
            score: kernel(
                "score",
                &[include_str!("shaders/score.wgsl"), loss],
                &[Read, Read, Write, Write, Read],
            ),
            backward: has_hidden.then(|| {
                let backward = include_str!("shaders/backward.wgsl");
                kernel(
                    "backward",
                    &[matmul, backward, activation],
                    &[Read, Read, Read, Write],
                )
            }),
            curvature: (!registered.curvatures.is_empty()).then(|| {
                kernel(
                    "curvature",
                    &[include_str!("shaders/curvature.wgsl")],
                    &[Read, Write],
                )
            }),
            weight_gradient: kernel(
                "weight gradient",
                &[matmul, include_str!("shaders/weight_gradient.wgsl"), adds],
                &[Read, Read, Write],
            ),
            bias_gradient: kernel(
                "bias gradient",
                &[include_str!("shaders/bias_gradient.wgsl"), adds],
                &[Read, Write],
            ),
            sum: kernel("sum", &[include_str!("shaders/sum.wgsl")], &[Read, Write]),
        }
    }
}

/// A batch's rows on their way through the network; both phases use the same buffers.
struct Buffers {
    /// `[rows, features]`
    inputs: wgpu::Buffer,
    /// `[rows, outputs]`
    targets: wgpu::Buffer,
    layers: Vec<LayerBuffers>,
}

/// Each `[rows, outputs]` of its layer.
struct LayerBuffers {
    /// The layer's sums before and after its activation.
    before: wgpu::Buffer,
    after: wgpu::Buffer,
    /// The loss gradient with respect to `before`.
    delta: wgpu::Buffer,
}

impl Buffers {
    fn new(device: &wgpu::Device, registered: &Registered, rows: usize) -> Result<Self> {
        let most =
            device.limits().max_compute_workgroups_per_dimension as usize * COPY_TILE as usize;
        ensure!(
            rows <= most,
            "A batch of {rows} rows is beyond the device's {most}: choose a smaller --batch-size."
        );
        let sizes = &registered.architecture.sizes;
        let is_llvmpipe = device.adapter_info().name.contains("llvmpipe");
        let deepest = sizes.iter().copied().fold(rows, usize::max);
        ensure!(
            deepest <= MOST_DEPTH || !is_llvmpipe,
            "Mesa's llvmpipe adds up {MOST_DEPTH} numbers at most, and a batch of {rows} rows in layers of {sizes:?} \
             has sums of {deepest}: choose a smaller --batch-size, or --device cpu."
        );
        let outputs = sizes[sizes.len() - 1];
        ensure!(
            outputs <= MOST_OUTPUTS || !is_llvmpipe,
            "Mesa's llvmpipe scores {MOST_OUTPUTS} outputs at most, not {outputs}: choose --device cpu."
        );
        let matrix = |label: &str, columns: usize| {
            ensure!(
                columns <= most,
                "A layer of {columns} numbers is beyond the device's {most}."
            );
            let elements = rows * columns;
            ensure!(
                elements <= largest_binding(device),
                "A batch of {rows} rows needs {elements} numbers in one buffer, but the device binds at most {}: \
                 choose a smaller --batch-size.",
                largest_binding(device)
            );
            Ok(storage(device, label, elements))
        };
        let layers = sizes[1..].iter().map(|&outputs| {
            Ok(LayerBuffers {
                before: matrix("before", outputs)?,
                after: matrix("after", outputs)?,
                delta: matrix("delta", outputs)?,
            })
        });
        Ok(Self {
            inputs: matrix("inputs", sizes[0])?,
            targets: matrix("targets", sizes[sizes.len() - 1])?,
            layers: layers.collect::<Result<_>>()?,
        })
    }
}

/// What has to be bound as a whole must fit a binding.
fn check_sizes(device: &wgpu::Device, registered: &Registered, data: &Dataset) -> Result<()> {
    let most = largest_binding(device);
    for layer in &registered.layers {
        ensure!(
            layer.inputs * layer.outputs <= most,
            "A layer of {} × {} weights needs more than the {most} numbers that the device binds at \
             once: choose narrower --hidden layers.",
            layer.inputs,
            layer.outputs
        );
    }
    // Loss and hit of each sample.
    let samples = data.train.count.max(data.test.count);
    ensure!(
        2 * samples <= most,
        "A data set of {samples} samples is beyond the {} that the device can score.",
        most / 2
    );
    Ok(())
}

/// The most f32 that one storage binding holds.
fn largest_binding(device: &wgpu::Device) -> usize {
    let limits = device.limits();
    (limits
        .max_storage_buffer_binding_size
        .min(limits.max_buffer_size)
        / 4) as usize
}

fn storage(device: &wgpu::Device, label: &str, elements: usize) -> wgpu::Buffer {
    device.create_buffer(&wgpu::BufferDescriptor {
        label: Some(label),
        size: 4 * elements as u64,
        usage: wgpu::BufferUsages::STORAGE
            | wgpu::BufferUsages::COPY_DST
            | wgpu::BufferUsages::COPY_SRC,
        mapped_at_creation: false,
    })
}

/// Puts kernels and buffers together into each phase's program.
struct Builder<'a> {
    gpu: &'a Gpu,
    registered: &'a Registered,
    optimizer: &'a Optimizer,
    kernels: Kernels,
    rows: Buffers,
}

impl Builder<'_> {
    fn phase(
        &self,
        samples: &Samples,
        batch_size: usize,
        first_batch: usize,
        backward: bool,
    ) -> Result<Phase> {
        let device = &self.gpu.device;
        let order = storage(device, "order", samples.count);
        let as_given: Vec<u32> = (0..samples.count as u32).collect();
        self.gpu
            .queue
            .write_buffer(&order, 0, bytemuck::cast_slice(&as_given));
        let scores = storage(device, "scores", 2 * samples.count);
        let sizes = &self.registered.architecture.sizes;
        let outputs = sizes[sizes.len() - 1];

        let mut program = Vec::new();
        self.gather(
            &mut program,
            &order,
            &samples.inputs,
            sizes[0],
            &self.rows.inputs,
        );
        self.gather(
            &mut program,
            &order,
            &samples.targets,
            outputs,
            &self.rows.targets,
        );
        self.forward(&mut program)?;
        program.push(self.score(&scores, outputs as u32));
        let scoring = program.len();
        if backward {
            self.backward(&mut program)?;
            self.curvature(&mut program)?;
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
        program: &mut Vec<Dispatch>,
        order: &wgpu::Buffer,
        matrix: &[f32],
        columns: usize,
        gathered: &wgpu::Buffer,
    ) {
        let device = &self.gpu.device;
        let page_rows = (largest_binding(device) / columns).max(1);
        for (index, page) in matrix.chunks(page_rows * columns).enumerate() {
            let samples = storage(device, "samples", page.len());
            self.gpu
                .queue
                .write_buffer(&samples, 0, bytemuck::cast_slice(page));
            let (first, rows) = (index * page_rows, page.len() / columns);
            program.push(self.kernels.gather.dispatch(
                device,
                [columns as u32, first as u32, rows as u32, 0],
                &[
                    order.as_entire_binding(),
                    samples.as_entire_binding(),
                    gathered.as_entire_binding(),
                ],
                1,
                Workgroups::PerRows(COPY_TILE),
            ));
        }
    }

    /// What layer `index` multiplies by its weights, `[rows, inputs]`.
    fn below(&self, index: usize) -> &wgpu::Buffer {
        match index.checked_sub(1) {
            Some(below) => &self.rows.layers[below].after,
            None => &self.rows.inputs,
        }
    }

    fn forward(&self, program: &mut Vec<Dispatch>) -> Result<()> {
        for (index, (layer, buffers)) in self
            .registered
            .layers
            .iter()
            .zip(&self.rows.layers)
            .enumerate()
        {
            let weight = self.optimizer.param(layer.weight)?;
            let bias = self.optimizer.param(layer.bias)?;
            program.push(self.kernels.forward.dispatch(
                &self.gpu.device,
                [layer.inputs as u32, layer.outputs as u32, 0, 0],
                &[
                    self.below(index).as_entire_binding(),
                    weight.binding(),
                    bias.binding(),
                    buffers.before.as_entire_binding(),
                    buffers.after.as_entire_binding(),
                ],
                (layer.outputs as u32).div_ceil(MATMUL_TILE),
                Workgroups::PerRows(MATMUL_TILE),
            ));
        }
        Ok(())
    }

    fn score(&self, scores: &wgpu::Buffer, outputs: u32) -> Dispatch {
        let top = &self.rows.layers[self.rows.layers.len() - 1];
        self.kernels.score.dispatch(
            &self.gpu.device,
            [0, outputs, 0, 0],
            &[
                top.before.as_entire_binding(),
                self.rows.targets.as_entire_binding(),
                top.delta.as_entire_binding(),
                scores.as_entire_binding(),
                self.optimizer.loss_scale().binding(),
            ],
            1,
            Workgroups::PerRows(SCORE_ROWS),
        )
    }

    fn backward(&self, program: &mut Vec<Dispatch>) -> Result<()> {
        let device = &self.gpu.device;
        for (index, layer) in self.registered.layers.iter().enumerate().rev() {
            let constants = [layer.inputs as u32, layer.outputs as u32, 0, 0];
            let delta = &self.rows.layers[index].delta;
            let weight_gradient = self.optimizer.grad(layer.weight)?;
            program.push(self.kernels.weight_gradient.dispatch(
                device,
                constants,
                &[
                    delta.as_entire_binding(),
                    self.below(index).as_entire_binding(),
                    weight_gradient.binding(),
                ],
                (layer.inputs as u32).div_ceil(MATMUL_TILE),
                Workgroups::Fixed((layer.outputs as u32).div_ceil(MATMUL_TILE)),
            ));
            let bias_gradient = self.optimizer.grad(layer.bias)?;
            program.push(self.kernels.bias_gradient.dispatch(
                device,
                constants,
                &[delta.as_entire_binding(), bias_gradient.binding()],
                (layer.outputs as u32).div_ceil(COPY_TILE),
                Workgroups::Fixed(1),
            ));
            let (Some(below), Some(kernel)) = (index.checked_sub(1), &self.kernels.backward) else {
                continue;
            };
            let below = &self.rows.layers[below];
            let weight = self.optimizer.param(layer.weight)?;
            program.push(kernel.dispatch(
                device,
                constants,
                &[
                    delta.as_entire_binding(),
                    weight.binding(),
                    below.before.as_entire_binding(),
                    below.delta.as_entire_binding(),
                ],
                (layer.inputs as u32).div_ceil(MATMUL_TILE),
                Workgroups::PerRows(MATMUL_TILE),
            ));
        }
        Ok(())
    }
}

impl Builder<'_> {
    /// Fills what the rule takes beside the gradient.
    fn curvature(&self, program: &mut Vec<Dispatch>) -> Result<()> {
        let Some(kernel) = &self.kernels.curvature else {
            return Ok(());
        };
        for &(tensor, slot) in &self.registered.curvatures {
            let count = self.registered.layout.element_count(tensor)? as u32;
            program.push(kernel.dispatch(
                &self.gpu.device,
                [count, 0, 0, 0],
                &[
                    self.optimizer.grad(tensor)?.binding(),
                    self.optimizer.state(tensor, slot)?.binding(),
                ],
                count.div_ceil(256).min(1024),
                Workgroups::Fixed(1),
            ));
        }
        Ok(())
    }
}

impl Activation {
    fn wgsl(self) -> &'static str {
        match self {
            Self::Relu => include_str!("shaders/activations/relu.wgsl"),
            Self::Tanh => include_str!("shaders/activations/tanh.wgsl"),
            Self::Sigmoid => include_str!("shaders/activations/sigmoid.wgsl"),
            Self::Gelu => include_str!("shaders/activations/gelu.wgsl"),
        }
    }
}

impl Loss {
    fn wgsl(self) -> &'static str {
        match self {
            Self::CrossEntropy => include_str!("shaders/losses/cross_entropy.wgsl"),
            Self::BinaryCrossEntropy => include_str!("shaders/losses/binary_cross_entropy.wgsl"),
            Self::Mse => include_str!("shaders/losses/mean_squared_error.wgsl"),
        }
    }
}
