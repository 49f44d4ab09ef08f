//! Which tensors a checkpoint of a layout has, in the order in which they lie in the file.

use safetensors::Dtype;

use crate::{Extent, Layout, Options, Slot, Tensor, options::AVERAGE};

/// One tensor of a checkpoint.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    /// Its name in the file.
    pub name: String,
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub tensor: Tensor,
    pub part: Part,
}

/// What of the layout's tensor it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Param,
    State(&'static str),
    /// The count of performed steps, as PyTorch writes it.
    Step,
}

impl Part {
    /// The name in a file, of the part of the tensor `tensor`.
    pub fn name(self, tensor: &str) -> String {
        match self {
            Self::Param => format!("model.{tensor}"),
            Self::State(AVERAGE) => format!("ema.{tensor}"),
            Self::State(slot) => format!("state.{tensor}.{slot}"),
            Self::Step => format!("state.{tensor}.step"),
        }
    }
}

impl Entry {
    pub fn bytes(&self) -> usize {
        let elements: usize = self.shape.iter().product();
        elements * self.dtype.bitsize() / 8
    }
}

/// All tensors of a checkpoint of `layout`, whose numbers are of type `dtype`.
///
/// They are in the order in which they lie on a device, slot after slot of each group. Counts of steps,
/// which the host knows, are the last.
pub(crate) fn entries(
    layout: &Layout,
    options: &Options,
    dtype: Dtype,
    params: bool,
) -> Vec<Entry> {
    let mut members = vec![Vec::new(); layout.groups.len()];
    for tensor in layout.tensors() {
        members[layout.tensors[tensor.0].group.0].push(tensor);
    }
    let entry = |tensor: Tensor, dtype, part: Part, shape: Vec<usize>| Entry {
        name: part.name(&layout.tensors[tensor.0].name),
        dtype,
        shape,
        tensor,
        part,
    };
    let mut entries = Vec::new();
    for tensor in layout.tensors().filter(|_| params) {
        let shape = layout.tensors[tensor.0].shape.clone();
        entries.push(entry(tensor, dtype, Part::Param, shape));
    }
    for (rule, members) in layout.groups.iter().zip(&members) {
        let kept = |slot: &Slot| slot.used && !slot.scratch;
        let average = Slot::element(AVERAGE).used_if(options.average.is_some());
        let slots = rule.slots().into_iter().chain([average]);
        for slot in slots.filter(kept) {
            let all = members.iter().filter_map(|&tensor| {
                let shape = shape(slot.extent, &layout.tensors[tensor.0].shape)?;
                Some(entry(tensor, dtype, Part::State(slot.name), shape))
            });
            entries.extend(all);
        }
    }
    let steps = layout.tensors();
    entries.extend(steps.map(|tensor| entry(tensor, Dtype::F32, Part::Step, Vec::new())));
    entries
}

/// The shape in which PyTorch keeps what a tensor of `shape` has per `extent`. `None` if it has none.
fn shape(extent: Extent, shape: &[usize]) -> Option<Vec<usize>> {
    if extent.count(shape) == 0 {
        return None;
    }
    let mut kept = shape.to_vec();
    let rank = kept.len();
    match extent {
        Extent::Element | Extent::Vector => {}
        Extent::Tensor => kept.clear(),
        Extent::Row => kept[rank - 1] = 1,
        Extent::Column => kept[rank - 2] = 1,
        Extent::Pair => {
            let elements = shape.iter().product();
            kept = vec![elements, elements];
        }
        Extent::Group => return None,
    }
    Some(kept)
}
