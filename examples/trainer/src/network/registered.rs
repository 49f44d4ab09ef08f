//! A network's tensors in an optimizer's layout.

use anyhow::{Context, Result, ensure};
use flags::rule::{Rules, inputs};
use wgpu_optim::{Group, Layout, Options, Tensor};

use super::architecture::{Architecture, Matrix};

/// Enough for any network that this example is meant for; beyond it the numbers were surely
/// mistyped.
const MOST_PARAMETERS: usize = 1 << 28;

/// The tensors of one layer.
#[derive(Clone, Copy, Debug)]
pub struct Parameters {
    pub matrix: Matrix,
    /// `[outputs, inputs]`
    pub weight: Tensor,
    /// `[outputs]`
    pub bias: Tensor,
}

/// A network's tensors, registered with an optimizer's layout.
#[derive(Clone)]
pub struct Registered {
    pub architecture: Architecture,
    pub layout: Layout,
    /// Each parameter group with the learning rate that it starts with.
    pub groups: Vec<(Group, f64)>,
    /// The tensors of each layer, if it has some.
    layers: Vec<Option<Parameters>>,
    /// What rules take beside the gradient: tensors and slots.
    pub curvatures: Vec<(Tensor, &'static str)>,
    /// What surrounds a step.
    pub options: Options,
}

impl Registered {
    /// Whether a backward pass adds to the gradients that are there, instead of overwriting them.
    pub fn adds_gradients(&self) -> bool {
        self.options.accumulate > 1
    }

    /// Of the layers that have some, the first layer's first.
    pub fn parameters(&self) -> impl Iterator<Item = &Parameters> {
        self.layers.iter().flatten()
    }

    /// Of layer number `layer`.
    pub fn parameters_of(&self, layer: usize) -> Result<&Parameters> {
        let parameters = self.layers.get(layer).and_then(Option::as_ref);
        parameters.with_context(|| format!("Layer {layer} has no parameters."))
    }
}

/// The inputs of all tensors' rules beside the gradient.
fn all_curvatures(layout: &Layout) -> Result<Vec<(Tensor, &'static str)>> {
    let mut all = Vec::new();
    for tensor in layout.tensors() {
        let rule = layout.rule(layout.group_of(tensor)?)?;
        all.extend(inputs(rule).into_iter().map(|slot| (tensor, slot)));
    }
    Ok(all)
}

impl Architecture {
    /// Registers `0.weight`, `0.bias`, `1.weight`, … of the layers that have weights, in one
    /// parameter group for each rule.
    pub fn register(self, rules: impl Into<Rules>, options: Options) -> Result<Registered> {
        ensure!(
            self.parameter_count() <= MOST_PARAMETERS,
            "This network would have {} parameters; at most {MOST_PARAMETERS} are allowed.",
            self.parameter_count()
        );
        let mut layout = Layout::new();
        let Rules {
            formats,
            matrices,
            rest,
        } = rules.into();
        let rest = layout.group_in(rest, formats)?;
        let matrices = match matrices {
            Some(rule) => layout.group_in(rule, formats)?,
            None => rest,
        };
        let mut index = 0;
        let mut tensors = |matrix: Matrix| {
            let (weight, bias) = (format!("{index}.weight"), format!("{index}.bias"));
            index += 1;
            anyhow::Ok(Parameters {
                matrix,
                weight: layout.tensor(matrices, &weight, &[matrix.outputs, matrix.inputs])?,
                bias: layout.tensor(rest, &bias, &[matrix.outputs])?,
            })
        };
        let layers = self
            .layers()
            .iter()
            .map(|placed| placed.matrix().map(&mut tensors).transpose())
            .collect::<Result<_>>()?;
        let lr = |group| Ok((group, layout.rule(group)?.lr()));
        Ok(Registered {
            architecture: self,
            groups: layout.groups().map(lr).collect::<Result<_>>()?,
            curvatures: all_curvatures(&layout)?,
            layout,
            layers,
            options,
        })
    }
}
