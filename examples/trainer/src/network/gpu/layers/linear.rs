//! Fully connected: every output sums up all inputs.

use anyhow::Result;

use super::{Below, Context, Stage, parameters};
use crate::network::gpu::kernel::{Access, Workgroups};
use crate::network::gpu::{MATMUL, MATMUL_TILE};

pub fn build(context: &Context<'_>, index: usize, below: Below<'_>) -> Result<Stage> {
    use Access::{Read, Write};
    let parameters = context.registered.parameters_of(index)?;
    let matrix = parameters.matrix;
    let weight = context.precision.weights(parameters.weight)?;
    let bias = context.precision.weights(parameters.bias)?;
    let signal = context.activated(matrix.outputs)?;

    let shader = include_str!("../../shaders/forward.wgsl");
    let kernel = context.kernels.get(
        "forward",
        &[MATMUL, shader, signal.activation],
        &[Read, Read, Read, Write, Write],
    );
    let forward = kernel.dispatch(
        context.device,
        matrix.constants(None),
        &[
            below.inputs.as_entire_binding(),
            weight.binding(),
            bias.binding(),
            signal.before.as_entire_binding(),
            signal.after.as_entire_binding(),
        ],
        [
            Workgroups::tiles(matrix.outputs, MATMUL_TILE),
            Workgroups::PerRows(MATMUL_TILE),
            Workgroups::ONE,
        ],
    );

    let mut backward = parameters::gradients(context, parameters, below.inputs, &signal.delta)?;
    if let Some(below) = below.signal {
        let shader = include_str!("../../shaders/backward.wgsl");
        let kernel = context.kernels.get(
            "backward",
            &[MATMUL, shader, below.activation],
            &[Read, Read, Read, Write],
        );
        backward.push(kernel.dispatch(
            context.device,
            matrix.constants(None),
            &[
                signal.delta.as_entire_binding(),
                weight.binding(),
                below.before.as_entire_binding(),
                below.delta.as_entire_binding(),
            ],
            [
                Workgroups::tiles(matrix.inputs, MATMUL_TILE),
                Workgroups::PerRows(MATMUL_TILE),
                Workgroups::ONE,
            ],
        ));
    }
    Ok(Stage {
        signal,
        forward: vec![forward],
        backward,
    })
}
