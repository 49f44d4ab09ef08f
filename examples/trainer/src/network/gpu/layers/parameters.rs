//! Gradients of weights and biases, from what goes through them.

use anyhow::Result;
use wgpu_optim::{BufferRange, wgpu};

use super::Context;
use crate::network::architecture::Matrix;
use crate::network::gpu::kernel::{Access, Dispatch, Workgroups};
use crate::network::gpu::limits;
use crate::network::gpu::{COPY_TILE, MATMUL, MATMUL_TILE};
use crate::network::registered::Parameters;

/// Rows of a batch, times positions, whose products one workgroup adds up. Convolutions have few
/// weights and many positions: so the device's cores share the work, and no loop grows with the batch.
const PIECE: u32 = 512;
const SUM_THREADS: u32 = 64;

/// `inputs` are what the weights were multiplied by, `[rows · positions, matrix.inputs]`, and `delta`
/// is the loss gradient with respect to the products, `[rows · positions, matrix.outputs]`.
pub fn gradients(
    context: &Context<'_>,
    parameters: &Parameters,
    inputs: &wgpu::Buffer,
    delta: &wgpu::Buffer,
) -> Result<Vec<Dispatch>> {
    let matrix = parameters.matrix;
    let weight = context.precision.gradients(parameters.weight)?;
    let bias = context.precision.gradients(parameters.bias)?;
    let adds = context.registered.adds_gradients();
    if matrix.positions == 1 {
        return Ok(vec![
            weight_gradient(context, matrix, [delta, inputs], &weight, None, adds),
            bias_gradient(context, matrix, delta, &bias, None, adds),
        ]);
    }
    let pieces = |count| {
        let pieces = (context.train_rows * matrix.positions).div_ceil(PIECE as usize);
        let pieces = limits::matrix(context.device, "pieces", pieces, count)?;
        anyhow::Ok(BufferRange::whole(&pieces))
    };
    let weights = matrix.inputs * matrix.outputs;
    let weight_pieces = pieces(weights)?;
    let bias_pieces = pieces(matrix.outputs)?;
    let piece = Some(PIECE);
    let operands = [delta, inputs];
    Ok(vec![
        weight_gradient(context, matrix, operands, &weight_pieces, piece, false),
        sum_pieces(context, matrix, weights, &weight_pieces, &weight),
        bias_gradient(context, matrix, delta, &bias_pieces, piece, false),
        sum_pieces(context, matrix, matrix.outputs, &bias_pieces, &bias),
    ])
}

/// WGSL that says whether a gradient adds to the one that is there.
fn adds_wgsl(adds: bool) -> &'static str {
    match adds {
        true => "const ADDS = true;\n",
        false => "const ADDS = false;\n",
    }
}

impl Matrix {
    /// The constants of the shaders that have a `Layer`; without a piece, all is summed up at once.
    pub fn constants(self, piece: Option<u32>) -> [u32; 4] {
        let [inputs, outputs, positions] =
            [self.inputs, self.outputs, self.positions].map(|size| size as u32);
        [inputs, outputs, positions, piece.unwrap_or(u32::MAX)]
    }

    fn pieces(self, piece: Option<u32>) -> Workgroups {
        piece.map_or(Workgroups::ONE, |tile| Workgroups::PerPositions {
            positions: self.positions as u32,
            tile,
        })
    }
}

fn weight_gradient(
    context: &Context<'_>,
    matrix: Matrix,
    [delta, inputs]: [&wgpu::Buffer; 2],
    gradient: &BufferRange,
    piece: Option<u32>,
    adds: bool,
) -> Dispatch {
    use Access::{Read, Write};
    let shader = include_str!("../../shaders/weight_gradient.wgsl");
    let kernel = context.kernels.get(
        "weight gradient",
        &[MATMUL, shader, adds_wgsl(adds)],
        &[Read, Read, Write],
    );
    kernel.dispatch(
        context.device,
        matrix.constants(piece),
        &[
            delta.as_entire_binding(),
            inputs.as_entire_binding(),
            gradient.binding(),
        ],
        [
            Workgroups::tiles(matrix.inputs, MATMUL_TILE),
            Workgroups::tiles(matrix.outputs, MATMUL_TILE),
            matrix.pieces(piece),
        ],
    )
}

fn bias_gradient(
    context: &Context<'_>,
    matrix: Matrix,
    delta: &wgpu::Buffer,
    gradient: &BufferRange,
    piece: Option<u32>,
    adds: bool,
) -> Dispatch {
    let shader = include_str!("../../shaders/bias_gradient.wgsl");
    let kernel = context.kernels.get(
        "bias gradient",
        &[shader, adds_wgsl(adds)],
        &[Access::Read, Access::Write],
    );
    kernel.dispatch(
        context.device,
        matrix.constants(piece),
        &[delta.as_entire_binding(), gradient.binding()],
        [
            Workgroups::tiles(matrix.outputs, COPY_TILE),
            matrix.pieces(piece),
            Workgroups::ONE,
        ],
    )
}

/// The gradient of `count` parameters from its pieces.
fn sum_pieces(
    context: &Context<'_>,
    matrix: Matrix,
    count: usize,
    pieces: &BufferRange,
    gradient: &BufferRange,
) -> Dispatch {
    let shader = include_str!("../../shaders/sum_pieces.wgsl");
    let adds = adds_wgsl(context.registered.adds_gradients());
    let storage = [Access::Read, Access::Write];
    let kernel = context
        .kernels
        .get("sum of pieces", &[shader, adds], &storage);
    kernel.dispatch(
        context.device,
        [count as u32, matrix.positions as u32, PIECE, 0],
        &[pieces.binding(), gradient.binding()],
        [
            Workgroups::tiles(count, SUM_THREADS),
            Workgroups::ONE,
            Workgroups::ONE,
        ],
    )
}
