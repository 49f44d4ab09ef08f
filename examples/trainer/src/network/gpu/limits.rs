//! What a device holds and counts to: beyond it there is a sentence in place of a wrong number.

use anyhow::{Result, ensure};
use wgpu_optim::wgpu;

use super::{COPY_TILE, MATMUL_TILE};
use crate::data::Dataset;
use crate::network::architecture::Placed;
use crate::network::{Architecture, Registered};

/// Test data are scored in batches of so many rows, or of the training batch size where that is
/// larger.
const TEST_ROWS: usize = 512;
/// Rows of a batch, or numbers in a layer, that Mesa's llvmpipe adds up: it ends a thread's loops after
/// 65 535 rounds and says nothing, and matmul.wgsl takes 43 of them for each 32.
const MOST_DEPTH: usize = 48_000;
/// Outputs that score.wgsl goes through there, up to four times.
const MOST_OUTPUTS: usize = 16_000;

/// The most f32 that one storage binding holds.
pub fn largest_binding(device: &wgpu::Device) -> usize {
    let limits = device.limits();
    (limits
        .max_storage_buffer_binding_size
        .min(limits.max_buffer_size)
        / 4) as usize
}

fn most_workgroups(device: &wgpu::Device) -> usize {
    device.limits().max_compute_workgroups_per_dimension as usize
}

/// Numbers that a layer keeps for each row at most in one buffer.
fn widest_buffer(placed: &Placed) -> usize {
    let patches = placed
        .matrix()
        .map_or(0, |matrix| matrix.positions.saturating_mul(matrix.inputs));
    patches
        .max(placed.input.numbers())
        .max(placed.output.numbers())
}

/// The most positions of a sample in any layer.
fn most_positions(architecture: &Architecture) -> usize {
    let positions = architecture.matrices().map(|matrix| matrix.positions);
    positions.max().unwrap_or(1)
}

/// Rows of the batches in which test data are scored, if the training's have `batch_size`.
pub fn test_rows(
    device: &wgpu::Device,
    architecture: &Architecture,
    test_count: usize,
    batch_size: usize,
) -> usize {
    let layers = architecture.layers().iter();
    let widest = layers.map(widest_buffer).max().unwrap_or(1);
    let positions = most_workgroups(device) * MATMUL_TILE as usize;
    TEST_ROWS
        .min(test_count)
        .min(largest_binding(device) / widest)
        .min(positions / most_positions(architecture))
        .max(batch_size)
}

/// What has to be bound as a whole must fit a binding.
pub fn check_sizes(device: &wgpu::Device, registered: &Registered, data: &Dataset) -> Result<()> {
    let most = largest_binding(device);
    for matrix in registered.architecture.matrices() {
        ensure!(
            matrix.inputs * matrix.outputs <= most,
            "A layer of {} × {} weights needs more than the {most} numbers that the device binds at \
             once: choose narrower --hidden or --conv layers.",
            matrix.inputs,
            matrix.outputs
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

/// Workgroups and sums must not be too many for batches of `rows` rows.
pub fn check_rows(device: &wgpu::Device, architecture: &Architecture, rows: usize) -> Result<()> {
    let most = most_workgroups(device) * COPY_TILE as usize;
    ensure!(
        rows <= most,
        "A batch of {rows} rows is beyond the device's {most}: choose a smaller --batch-size."
    );
    let positions = rows.saturating_mul(most_positions(architecture));
    let most_positions = most_workgroups(device) * MATMUL_TILE as usize;
    ensure!(
        positions <= most_positions,
        "A batch of {rows} images has {positions} pixels, beyond the device's {most_positions}: choose a smaller \
         --batch-size."
    );
    for shape in architecture.shapes() {
        ensure!(
            shape.numbers() <= most,
            "A layer of {} numbers is beyond the device's {most}.",
            shape.numbers()
        );
    }
    if device.adapter_info().name.contains("llvmpipe") {
        check_llvmpipe(architecture, rows)?;
    }
    Ok(())
}

fn check_llvmpipe(architecture: &Architecture, rows: usize) -> Result<()> {
    let deepest = architecture
        .matrices()
        .map(|matrix| {
            // Where there are many positions, the gradient is summed up in pieces.
            let rows = if matrix.positions == 1 { rows } else { 0 };
            matrix.inputs.max(matrix.outputs).max(rows)
        })
        .fold(0, usize::max);
    ensure!(
        deepest <= MOST_DEPTH,
        "Mesa's llvmpipe adds up {MOST_DEPTH} numbers at most, and a batch of {rows} rows in layers of {architecture} \
         has sums of {deepest}: choose a smaller --batch-size, or --device cpu."
    );
    let outputs = architecture.output().numbers();
    ensure!(
        outputs <= MOST_OUTPUTS,
        "Mesa's llvmpipe scores {MOST_OUTPUTS} outputs at most, not {outputs}: choose --device cpu."
    );
    Ok(())
}

/// A buffer of `rows` times `columns` numbers.
pub fn matrix(
    device: &wgpu::Device,
    label: &str,
    rows: usize,
    columns: usize,
) -> Result<wgpu::Buffer> {
    let elements = rows.saturating_mul(columns);
    ensure!(
        elements <= largest_binding(device),
        "A batch of {rows} rows needs {elements} numbers in one buffer, but the device binds at most {}: \
         choose a smaller --batch-size.",
        largest_binding(device)
    );
    Ok(storage(device, label, elements))
}

pub fn storage(device: &wgpu::Device, label: &str, elements: usize) -> wgpu::Buffer {
    device.create_buffer(&wgpu::BufferDescriptor {
        label: Some(label),
        size: 4 * elements as u64,
        usage: wgpu::BufferUsages::STORAGE
            | wgpu::BufferUsages::COPY_DST
            | wgpu::BufferUsages::COPY_SRC,
        mapped_at_creation: false,
    })
}
