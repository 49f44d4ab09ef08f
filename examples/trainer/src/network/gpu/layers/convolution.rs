//! A convolution as a matrix product: the patch of pixels around every pixel is a row, and each filter
//! a row of the weights, both `[channels, kernel, kernel]`.

use anyhow::Result;
use wgpu_optim::wgpu;

use super::{Below, Context, Signal, Stage, parameters};
use crate::network::Shape;
use crate::network::gpu::kernel::{Access, Dispatch, Workgroups};
use crate::network::gpu::{COPY_TILE, MATMUL, MATMUL_TILE};
use crate::network::registered::Parameters;

use Access::{Read, Write};

/// What the dispatches of one layer share.
struct Convolution<'a> {
    context: &'a Context<'a>,
    image: Shape,
    kernel: usize,
    parameters: &'a Parameters,
    /// `[rows · pixels, channels · kernel²]`: in the backward pass, once the weights have their
    /// gradient, the patches' own takes their place.
    patches: wgpu::Buffer,
}

pub fn build(
    context: &Context<'_>,
    index: usize,
    kernel: usize,
    below: Below<'_>,
) -> Result<Stage> {
    let placed = &context.registered.architecture.layers()[index];
    let parameters = context.registered.parameters_of(index)?;
    let matrix = parameters.matrix;
    let layer = Convolution {
        context,
        image: placed.input,
        kernel,
        parameters,
        patches: context.buffer("patches", matrix.positions * matrix.inputs)?,
    };
    let signal = context.activated(placed.output.numbers())?;
    let mut backward = parameters::gradients(context, parameters, &layer.patches, &signal.delta)?;
    if let Some(below) = below.signal {
        backward.push(layer.patch_gradient(&signal)?);
        backward.push(layer.fold(below));
    }
    Ok(Stage {
        forward: vec![layer.unfold(below.inputs), layer.product(&signal)?],
        backward,
        signal,
    })
}

impl Convolution<'_> {
    /// The constants of the shaders that have an `Image`.
    fn constants(&self) -> [u32; 4] {
        let Shape {
            height,
            width,
            channels,
        } = self.image;
        [height, width, channels, self.kernel].map(|size| size as u32)
    }

    /// So many pixels of the whole batch for each workgroup.
    fn pixels(&self, tile: u32) -> Workgroups {
        Workgroups::PerPositions {
            positions: self.image.pixels() as u32,
            tile,
        }
    }

    fn unfold(&self, inputs: &wgpu::Buffer) -> Dispatch {
        let shader = include_str!("../../shaders/convolution/unfold.wgsl");
        let kernel = self
            .context
            .kernels
            .get("unfold", &[shader], &[Read, Write]);
        kernel.dispatch(
            self.context.device,
            self.constants(),
            &[inputs.as_entire_binding(), self.patches.as_entire_binding()],
            [
                Workgroups::tiles(self.parameters.matrix.inputs, COPY_TILE),
                self.pixels(MATMUL_TILE),
                Workgroups::ONE,
            ],
        )
    }

    fn product(&self, signal: &Signal) -> Result<Dispatch> {
        let shader = include_str!("../../shaders/convolution/forward.wgsl");
        let kernel = self.context.kernels.get(
            "convolution forward",
            &[MATMUL, shader, signal.activation],
            &[Read, Read, Read, Write, Write],
        );
        let precision = &self.context.precision;
        Ok(kernel.dispatch(
            self.context.device,
            self.parameters.matrix.constants(None),
            &[
                precision.weights(self.parameters.weight)?.binding(),
                self.patches.as_entire_binding(),
                precision.weights(self.parameters.bias)?.binding(),
                signal.before.as_entire_binding(),
                signal.after.as_entire_binding(),
            ],
            [
                self.pixels(MATMUL_TILE),
                Workgroups::tiles(self.parameters.matrix.outputs, MATMUL_TILE),
                Workgroups::ONE,
            ],
        ))
    }

    fn patch_gradient(&self, signal: &Signal) -> Result<Dispatch> {
        let shader = include_str!("../../shaders/convolution/backward.wgsl");
        let kernel = self.context.kernels.get(
            "convolution backward",
            &[MATMUL, shader],
            &[Read, Read, Write],
        );
        let weight = self.context.precision.weights(self.parameters.weight)?;
        Ok(kernel.dispatch(
            self.context.device,
            self.parameters.matrix.constants(None),
            &[
                weight.binding(),
                signal.delta.as_entire_binding(),
                self.patches.as_entire_binding(),
            ],
            [
                self.pixels(MATMUL_TILE),
                Workgroups::tiles(self.parameters.matrix.inputs, MATMUL_TILE),
                Workgroups::ONE,
            ],
        ))
    }

    fn fold(&self, below: &Signal) -> Dispatch {
        let shader = include_str!("../../shaders/convolution/fold.wgsl");
        let kernel =
            self.context
                .kernels
                .get("fold", &[shader, below.activation], &[Read, Read, Write]);
        kernel.dispatch(
            self.context.device,
            self.constants(),
            &[
                self.patches.as_entire_binding(),
                below.before.as_entire_binding(),
                below.delta.as_entire_binding(),
            ],
            [
                Workgroups::tiles(self.image.numbers(), COPY_TILE),
                Workgroups::PerRows(COPY_TILE),
                Workgroups::ONE,
            ],
        )
    }
}
