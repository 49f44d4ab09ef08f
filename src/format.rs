//! How numbers are stored in a buffer, and how many bytes they take.

/// Elements that a shader moves at once.
pub(crate) const QUAD: u64 = 4;

/// Every device can begin a binding at a multiple of this many bytes.
pub(crate) const BINDING_ALIGNMENT: u64 = 256;

/// A binding ends at a multiple of this many bytes.
pub(crate) const BINDING_STEP: u64 = 4;

/// How an element is stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) enum Format {
    #[default]
    F32,
    /// The upper half of an f32. Nothing is stored like this yet. Tests show that it could be.
    #[cfg(test)]
    Bf16,
}

impl Format {
    #[cfg(test)]
    pub const ALL: [Self; 2] = [Self::F32, Self::Bf16];

    /// How many bytes `elements` take.
    pub const fn bytes(self, elements: u64) -> u64 {
        elements * self.element_bytes()
    }

    /// How many elements `bytes` hold.
    pub const fn elements(self, bytes: u64) -> u64 {
        bytes / self.element_bytes()
    }

    /// Bytes that a shader moves at once. They must begin at a multiple of this.
    pub const fn quad_bytes(self) -> u64 {
        self.bytes(QUAD)
    }

    /// Every device can begin a binding at a multiple of this many elements.
    pub const fn unit(self) -> u64 {
        self.elements(BINDING_ALIGNMENT)
    }

    /// The bytes of these values in a buffer.
    pub fn encoded(self, values: impl IntoIterator<Item = f32>) -> Vec<u8> {
        let values = values.into_iter();
        match self {
            Self::F32 => values.flat_map(f32::to_ne_bytes).collect(),
            #[cfg(test)]
            Self::Bf16 => {
                let upper = |value: f32| ((value.to_bits() >> 16) as u16).to_ne_bytes();
                values.flat_map(upper).collect()
            }
        }
    }

    const fn element_bytes(self) -> u64 {
        match self {
            Self::F32 => 4,
            #[cfg(test)]
            Self::Bf16 => 2,
        }
    }
}

/// The formats of all that a step reads and writes per element.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Formats {
    pub params: Format,
    pub grads: Format,
    /// The format of the rule's own slots.
    pub state: Format,
    /// The format of the slots that the caller fills.
    pub inputs: Format,
    /// The format of a matrix stage's slot. The stage's shaders read it too.
    pub matrices: Format,
    /// The format of the running mean of the parameters.
    pub average: Format,
}

impl Formats {
    /// The most bytes that `elements` take in any slot.
    pub fn slot_bytes(&self, elements: u64) -> u64 {
        let bytes = self.slots().map(|format| format.bytes(elements));
        bytes.into_iter().max().unwrap_or(0)
    }

    /// The most bytes that `elements` take anywhere.
    pub fn most_bytes(&self, elements: u64) -> u64 {
        let [params, grads] = [self.params, self.grads].map(|format| format.bytes(elements));
        self.slot_bytes(elements).max(params).max(grads)
    }

    /// Every device can begin a binding of any slot at a multiple of this many elements.
    pub fn slot_unit(&self) -> u64 {
        let units = self.slots().map(Format::unit);
        units.into_iter().max().unwrap_or(1)
    }

    fn slots(&self) -> [Format; 4] {
        [self.state, self.inputs, self.matrices, self.average]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{GROUP_ALIGNMENT, TENSOR_ALIGNMENT};

    #[test]
    fn tensors_of_an_arena_can_be_bound_by_themselves_in_the_format_that_there_is() {
        assert_eq!(TENSOR_ALIGNMENT as u64 % Format::default().unit(), 0);
        for format in Format::ALL {
            assert_eq!(GROUP_ALIGNMENT as u64 % format.unit(), 0, "{format:?}");
            assert_eq!(format.bytes(format.unit()), BINDING_ALIGNMENT);
            assert_eq!(format.elements(format.bytes(7)), 7);
            assert_eq!(format.encoded([1.5; 7]).len() as u64, format.bytes(7));
        }
    }

    #[test]
    fn the_widest_slot_counts_for_bytes_and_the_narrowest_for_units() {
        let formats = Formats {
            state: Format::Bf16,
            ..Formats::default()
        };
        assert_eq!((formats.slot_bytes(3), formats.slot_unit()), (12, 128));
        let narrow = Formats {
            inputs: Format::Bf16,
            matrices: Format::Bf16,
            average: Format::Bf16,
            ..formats
        };
        assert_eq!((narrow.slot_bytes(3), narrow.most_bytes(3)), (6, 12));
    }
}
