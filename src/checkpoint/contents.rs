//! Which tensors a checkpoint of a layout has, in the order in which they lie in the file.

use safetensors::Dtype;

use crate::{Extent, Layout, Options, Slot, Tensor, format::Encoding, options::AVERAGE};

/// One tensor of a checkpoint.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    /// Its name in the file.
    pub name: String,
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    /// How the group keeps it, if its numbers are f32.
    pub encoding: Encoding,
    /// How many numbers it has.
    pub count: usize,
    pub tensor: Tensor,
    pub part: Part,
}

/// What of the layout's tensor it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Param,
    /// The bits that the parameters lack.
    Residual,
    State(&'static str),
    /// The count of performed steps, as PyTorch writes it.
    Step,
}

impl Part {
    /// The name in a file, of the part of the tensor `tensor`.
    pub fn name(self, tensor: &str) -> String {
        match self {
            Self::Param => format!("model.{tensor}"),
            Self::Residual => format!("residual.{tensor}"),
            Self::State(AVERAGE) => format!("ema.{tensor}"),
            Self::State(slot) => format!("state.{tensor}.{slot}"),
            Self::Step => format!("state.{tensor}.step"),
        }
    }
}

impl Entry {
    /// Its type and shape as the group keeps it: a block of elements is a row of bytes.
    pub fn encoded(&self) -> (Dtype, Vec<usize>) {
        let shape = match self.encoding.is_in_blocks() {
            true => self.encoding.blocks(self.count).to_vec(),
            false => self.shape.clone(),
        };
        (self.encoding.dtype(), shape)
    }

    /// Where its last row begins, if that has numbers beyond the last. They are zeros in a file; what a
    /// device has there means nothing.
    pub fn padded_row(&self) -> Option<usize> {
        let [rows, bytes] = self.encoding.blocks(self.count);
        let is_encoded = self.dtype == self.encoding.dtype();
        let is_padded = is_encoded && self.encoding.padding(self.count) > 0;
        is_padded.then(|| (rows - 1) * bytes)
    }

    /// Makes zeros of what the last row has beyond the last number.
    pub fn clear_padding(&self, row: &mut [u8]) {
        self.encoding.clear_padding(row, self.count);
    }

    pub fn bytes(&self) -> usize {
        let elements: usize = self.shape.iter().product();
        elements * self.dtype.bitsize() / 8
    }
}

/// All tensors of a checkpoint of `layout`, whose numbers are of type `dtype`. If that is f32, parameters
/// and state are as their group keeps them. Numbers of f64 lack no bits, and yet a file may have a residual:
/// one that was written in f32.
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
        count: shape.iter().product(),
        shape,
        encoding: Encoding::F32,
        tensor,
        part,
    };
    let as_kept = |mut entry: Entry| {
        if dtype == Dtype::F32 {
            (entry.dtype, entry.shape) = entry.encoded();
        }
        entry
    };
    let mut entries = Vec::new();
    for tensor in layout.tensors().filter(|_| params) {
        let of_layout = &layout.tensors[tensor.0];
        let mut entry = entry(tensor, dtype, Part::Param, of_layout.shape.clone());
        entry.encoding = layout.storage(of_layout.group).params;
        entries.push(as_kept(entry));
    }
    for tensor in layout.tensors().filter(|_| params) {
        let of_layout = &layout.tensors[tensor.0];
        if let Some(residual) = layout.storage(of_layout.group).params.residual() {
            let (part, shape) = (Part::Residual, of_layout.shape.clone());
            let mut entry = entry(tensor, residual.dtype(), part, shape);
            entry.encoding = residual;
            entries.push(entry);
        }
    }
    for ((group, rule), members) in layout.groups().zip(&layout.groups).zip(&members) {
        let storage = layout.storage(group);
        let kept = |slot: &Slot| slot.used && !slot.scratch;
        let average = Slot::element(AVERAGE).exact();
        let average = average.used_if(options.average.is_some());
        let slots = rule.slots().into_iter().chain([average]);
        for slot in slots.filter(kept) {
            let all = members.iter().filter_map(|&tensor| {
                let shape = shape(slot.extent, &layout.tensors[tensor.0].shape)?;
                let mut entry = entry(tensor, dtype, Part::State(slot.name), shape);
                if slot.extent == Extent::Element {
                    entry.encoding = rule.stages().encoding_of(&slot, &storage);
                }
                Some(as_kept(entry))
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
