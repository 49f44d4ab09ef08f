//! The largest number of each square, channel by channel.

use anyhow::Result;

use super::{Below, Context, Signal, Stage};
use crate::network::Shape;
use crate::network::architecture::Placed;
use crate::network::gpu::COPY_TILE;
use crate::network::gpu::kernel::{Access, Workgroups};

pub fn build(
    context: &Context<'_>,
    placed: &Placed,
    size: usize,
    below: Below<'_>,
) -> Result<Stage> {
    use Access::{Read, Write};
    let Shape {
        height,
        width,
        channels,
    } = placed.input;
    let constants = [height, width, channels, size].map(|size| size as u32);
    let threads = |count| {
        [
            Workgroups::tiles(count, COPY_TILE),
            Workgroups::PerRows(COPY_TILE),
            Workgroups::ONE,
        ]
    };
    let pooled = context.buffer("pooled", placed.output.numbers())?;

    let shader = include_str!("../../shaders/max_pool/forward.wgsl");
    let kernel = context
        .kernels
        .get("max pool forward", &[shader], &[Read, Write]);
    let forward = vec![kernel.dispatch(
        context.device,
        constants,
        &[below.inputs.as_entire_binding(), pooled.as_entire_binding()],
        threads(placed.output.numbers()),
    )];

    let signal = Signal {
        before: pooled.clone(),
        after: pooled,
        delta: context.buffer("delta", placed.output.numbers())?,
        activation: include_str!("../../shaders/identity.wgsl"),
    };
    let mut backward = Vec::new();
    if let Some(lower) = below.signal {
        let shader = include_str!("../../shaders/max_pool/backward.wgsl");
        let kernel = context.kernels.get(
            "max pool backward",
            &[shader, lower.activation],
            &[Read, Read, Read, Write],
        );
        let squares = height.div_ceil(size) * width.div_ceil(size);
        backward.push(kernel.dispatch(
            context.device,
            constants,
            &[
                signal.delta.as_entire_binding(),
                below.inputs.as_entire_binding(),
                lower.before.as_entire_binding(),
                lower.delta.as_entire_binding(),
            ],
            threads(squares * channels),
        ));
    }
    Ok(Stage {
        signal,
        forward,
        backward,
    })
}
