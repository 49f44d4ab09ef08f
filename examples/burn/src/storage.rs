//! How parameters and gradients are stored, by their types in burn.

use burn::backend::DType;
use wgpu_optim::{Format, Formats};

/// How a parameter and its gradient are stored. All members of a group have that in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Storage {
    /// The parameter as a step finds it. Of one in f16 that is its copy in f32.
    pub params: Format,
    pub grads: Format,
    /// What the step writes for the module, if that is another buffer.
    pub copy: Option<Format>,
}

impl Storage {
    /// As most are.
    pub const F32: Self = Self {
        params: Format::F32,
        grads: Format::F32,
        copy: None,
    };

    /// The storage of a parameter of a type, of which a group's formats choose. None if it has none.
    pub fn new(param: DType, grad: DType, formats: &Formats) -> Option<Self> {
        let (params, copy) = match (param, formats.params) {
            (DType::F32, Format::F32) => (Format::F32, None),
            // Rounded to the nearest bf16 alone, small updates would be lost.
            (DType::BF16, Format::F32) => (Format::Bf16Plus8, None),
            (DType::BF16, chosen) => (chosen, None),
            (DType::F16, Format::F32) => (Format::F32, Some(Format::F16)),
            _ => return None,
        };
        Some(Self {
            params,
            grads: grad_format(grad)?,
            copy,
        })
    }

    /// The type of such a parameter in the module.
    pub fn dtype(self) -> DType {
        match (self.params, self.copy) {
            (_, Some(_)) => DType::F16,
            (Format::F32, None) => DType::F32,
            _ => DType::BF16,
        }
    }

    /// The formats of a group of such parameters.
    pub fn of_group(self, formats: &Formats) -> Formats {
        Formats {
            params: self.params,
            grads: self.grads,
            copy: self.copy,
            ..*formats
        }
    }

    /// How many bytes a parameter and its gradient take.
    pub fn bytes(self, elements: u64) -> [u64; 2] {
        [self.params, self.grads].map(|format| match format {
            Format::F32 => 4 * elements,
            // Two elements share a word.
            _ => (2 * elements).next_multiple_of(4),
        })
    }
}

/// The format of a gradient that a step can read where it lies.
pub(crate) fn grad_format(grad: DType) -> Option<Format> {
    match grad {
        DType::F32 => Some(Format::F32),
        DType::F16 => Some(Format::F16),
        DType::BF16 => Some(Format::Bf16),
        _ => None,
    }
}
