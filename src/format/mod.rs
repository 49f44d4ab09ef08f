//! How numbers are stored in a buffer: the formats that a caller chooses, and what each takes.
//!
//! A format is one file here and one in `shaders/format/`, and a line below. Rules know nothing of it.

mod bf16;
mod bf16_plus_16;
mod bf16_plus_8;
mod f16;
mod f32;
mod int8;
mod random;
mod swap;

use std::{fmt, str::FromStr};

use fearless_simd::{f32x8, prelude::*, u32x8};
use safetensors::Dtype;

pub(crate) use random::{Noise, Rounding, pcg};

use crate::{Error, Precision, memory::reserved};

/// Elements that a shader moves at once.
pub(crate) const QUAD: u64 = 4;

/// Every device can begin a binding at a multiple of this many bytes.
pub(crate) const BINDING_ALIGNMENT: u64 = 256;

/// A binding ends at a multiple of this many bytes.
pub(crate) const BINDING_STEP: u64 = 4;

/// Declares the formats. Each has the encoding of its values, and the one of those that are never
/// negative.
macro_rules! formats {
    ($($(#[$meta:meta])* $Format:ident = $name:literal: $signed:expr, $non_negative:expr;)+) => {
        /// How numbers are stored.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Format {
            $($(#[$meta])* $Format,)+
        }

        impl Format {
            /// All formats.
            pub const ALL: &'static [Self] = &[$(Self::$Format),+];

            /// The name, such as `"bf16"`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$Format => $name,)+
                }
            }

            /// How values that bear this are stored, if that is in this format.
            pub(crate) const fn encoding(self, precision: Precision) -> Encoding {
                match (self, precision) {
                    $(
                        (Self::$Format, Precision::NonNegative) => Encoding(&$non_negative),
                        (Self::$Format, _) => Encoding(&$signed),
                    )+
                }
            }
        }

        impl Encoding {
            /// All encodings. An encoding may be there twice.
            #[cfg(test)]
            pub const ALL: &'static [Self] = &[$(Self(&$signed), Self(&$non_negative)),+];
        }
    };
}

formats! {
    /// 32 bits. Nothing is rounded.
    #[default]
    F32 = "f32": f32::F32, f32::F32;
    /// The upper 16 bits of an f32, rounded stochastically: three significant digits.
    Bf16 = "bf16": bf16::BF16, bf16::BF16;
    /// 24 bits, for parameters alone, rounded to the nearest: the nearest bf16, which a forward pass can read,
    /// and 8 bits that the optimizer keeps beside it. An update of less than 2⁻¹⁷ of a parameter is lost.
    Bf16Plus8 = "bf16+8": bf16_plus_8::BF16_PLUS_8, bf16_plus_8::BF16_PLUS_8;
    /// All 32 bits, for parameters alone: the nearest bf16, which a forward pass can read, and 16 bits that the
    /// optimizer keeps beside it. Nothing is rounded, in the memory that f32 takes.
    Bf16Plus16 = "bf16+16": bf16_plus_16::BF16_PLUS_16, bf16_plus_16::BF16_PLUS_16;
    /// IEEE half precision, for gradients alone.
    F16 = "f16": f16::F16, f16::F16;
    /// 8 bits for the logarithm of each element, and 32 for the largest of each 16, rounded
    /// stochastically: an error of 3 % and less for the larger elements of a block.
    Int8 = "int8": int8::SIGNED, int8::NON_NEGATIVE;
}

impl Format {
    /// Whether it keeps less of a number than f32 does.
    pub fn rounds(self) -> bool {
        self.encoding(Precision::Signed).rounds()
    }

    /// Bytes that an element takes, with its share of a scale and with what lies beside it.
    pub fn bytes_per_element(self) -> f64 {
        let encoding = self.encoding(Precision::Signed);
        let bytes = |Encoding(definition): Encoding| {
            definition.block_bytes as f64 / definition.block as f64
        };
        bytes(encoding) + encoding.residual().map_or(0.0, bytes)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Format {
    type Err = Error;

    /// The format of that [name](Format::name).
    ///
    /// # Errors
    /// [`Error::UnknownFormat`] lists the names that there are.
    fn from_str(name: &str) -> Result<Self, Error> {
        let found = Self::ALL.iter().find(|format| format.name() == name);
        found.copied().ok_or_else(|| Error::UnknownFormat {
            name: name.to_owned(),
            known: listed(Self::ALL),
        })
    }
}

/// The names of these, as a message lists them.
pub(crate) fn listed<'a>(formats: impl IntoIterator<Item = &'a Format>) -> String {
    let names: Vec<_> = formats.into_iter().map(|format| format.name()).collect();
    names.join(", ")
}

/// How a parameter group is stored; see [`Layout::group_in`](crate::Layout::group_in).
///
/// Where it is stored in fewer bits than 24, each step rounds what it computes in f32 to one of the two
/// neighbours that can be stored, by chance and so that the mean is right. The chance follows from
/// `seed`, the step and the element, so a run can be repeated to the bit, on the CPU too.
///
/// ```
/// use wgpu_optim::{Format, Formats, Layout, rules::AdamW};
///
/// let mut layout = Layout::new();
/// let formats = Formats { state: Format::Int8, ..Default::default() };
/// let body = layout.group_in(AdamW::default(), formats)?;
/// # Ok::<(), wgpu_optim::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Formats {
    /// One of [`PARAMS`](Self::PARAMS).
    pub params: Format,
    /// One of [`GRADS`](Self::GRADS). They are read as they come, and nothing is rounded.
    pub grads: Format,
    /// One of [`STATE`](Self::STATE), for what a rule averages or sums up per element: moments and
    /// momentum. What must stay exact stays f32: maxima, what the caller fills, sums over tensors, rows and
    /// columns, and the average of the parameters, whose place has the parameters themselves in evaluation.
    pub state: Format,
    /// One of [`SENSITIVE`](Self::SENSITIVE), for state that stays f32 unless it is asked for here: copies of
    /// parameters and of gradients, such as the schedule-free `z`, and step sizes. Bf16 takes two bytes in place of
    /// four and keeps three digits. Int8 is none of them: it would be off by 3 % of a parameter. Prodigy's copy
    /// of its first parameters stays f32, since its rate follows from small differences to them.
    pub sensitive: Format,
    /// One of [`COPIES`](Self::COPIES), if parameters of f32 have a copy for forward passes. The step
    /// writes it in the same pass, rounded to the nearest, to a buffer of the optimizer's
    /// ([`Optimizer::param_copy`](crate::Optimizer::param_copy)) or to the caller's
    /// ([`Buffers::copies`](crate::Buffers::copies)).
    pub copy: Option<Format>,
    /// Where the random bits of rounding begin. Groups of one layout have different bits for one seed.
    pub seed: u32,
}

impl Formats {
    /// What parameters may be stored in.
    pub const PARAMS: &'static [Format] = &[
        Format::F32,
        Format::Bf16,
        Format::Bf16Plus8,
        Format::Bf16Plus16,
    ];
    /// What gradients may be stored in.
    pub const GRADS: &'static [Format] = &[Format::F32, Format::F16, Format::Bf16];
    /// What state may be stored in.
    pub const STATE: &'static [Format] = &[Format::F32, Format::Bf16, Format::Int8];
    /// What sensitive state may be stored in.
    pub const SENSITIVE: &'static [Format] = &[Format::F32, Format::Bf16];
    /// What a copy of the parameters may be in.
    pub const COPIES: &'static [Format] = &[Format::F16, Format::Bf16];

    /// The format of state that bears this. Where a rule says more of a slot, that goes first: what the caller
    /// fills, what means nothing between steps, and what matrices are computed in are f32.
    pub fn of_state(&self, precision: Precision) -> Format {
        Storage::from(*self).format_of(precision)
    }

    /// # Errors
    /// [`Error::Format`] for a format that is not for what it was chosen for.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let mut roles = vec![
            ("parameters", self.params, Self::PARAMS),
            ("gradients", self.grads, Self::GRADS),
            ("state", self.state, Self::STATE),
            ("sensitive state", self.sensitive, Self::SENSITIVE),
        ];
        if let Some(copy) = self.copy {
            roles.push(("a copy of the parameters", copy, Self::COPIES));
            roles.push(("parameters that have a copy", self.params, &[Format::F32]));
        }
        for (what, format, allowed) in roles {
            if !allowed.contains(&format) {
                return Err(Error::Format {
                    what: what.to_owned(),
                    format,
                    allowed: listed(allowed),
                });
            }
        }
        Ok(())
    }
}

/// How the elements of one buffer are stored.
#[derive(Clone, Copy)]
pub(crate) struct Encoding(&'static Definition);

/// What a format's file says of it.
struct Definition {
    /// The suffix of its names in WGSL.
    name: &'static str,
    /// How many elements are encoded together. A block of more than one begins with scales.
    block: u64,
    block_bytes: u64,
    /// Whether it rounds to either neighbour, by chance.
    is_stochastic: bool,
    /// How many of an f32's upper bits an element is, those beside it included. `None` if it is others.
    upper_bits: Option<u32>,
    /// The type that a checkpoint has it in.
    dtype: Dtype,
    /// Its files in `shaders/format/`.
    wgsl: &'static [&'static str],
    /// Its file in `shaders/copy/`, if parameters may have a copy in it.
    copy: Option<&'static str>,
    /// What completes the values that the bits have been decoded to, and lies beside them in a buffer. `None` if
    /// the bits are all.
    residual: Option<&'static Definition>,
    /// Fills the bytes with whole blocks of these values, the first of which is the element of this number.
    encode: fn(&[f32], u64, Rounding, &mut [u8]),
    /// Fills the values from whole blocks. The last may have more elements.
    decode: fn(&[u8], &mut [f32]),
    /// Makes zeros of a block's elements from this one on. Those before it stay as they are, to the bit. A block
    /// of one has none to clear.
    clear: fn(&mut [u8], usize),
}

/// The bits of 16 values.
#[inline(always)]
fn bits<S: Simd>(simd: S, values: &[f32; 16]) -> [u32x8<S>; 2] {
    let (low, high) = values.split_at(8);
    let [low, high] = [f32x8::from_slice(simd, low), f32x8::from_slice(simd, high)];
    [low.bitcast(), high.bitcast()]
}

/// What is left after whole rows of `N` values, and then zeros. `None` if nothing is left.
#[inline(always)]
fn padded<const N: usize>(rest: &[f32]) -> Option<[f32; N]> {
    let mut row = [0.0; N];
    row[..rest.len()].copy_from_slice(rest);
    (!rest.is_empty()).then_some(row)
}

impl Encoding {
    pub const F32: Self = Self(&f32::F32);

    pub fn name(self) -> &'static str {
        self.0.name
    }

    pub fn wgsl(self) -> &'static [&'static str] {
        self.0.wgsl
    }

    /// The function `nearest_half` of WGSL, for a copy of the parameters.
    pub fn copy(self) -> Option<&'static str> {
        self.0.copy
    }

    /// The encoding of what lies beside the values.
    pub fn residual(self) -> Option<Self> {
        self.0.residual.map(Self)
    }

    /// Whether anything is lost of an f32 that is a number.
    pub fn rounds(self) -> bool {
        self.0.upper_bits != Some(32)
    }

    pub fn is_stochastic(self) -> bool {
        self.0.is_stochastic
    }

    pub fn dtype(self) -> Dtype {
        self.0.dtype
    }

    /// The number of blocks of `elements`, and the bytes of each.
    pub fn blocks(self, elements: usize) -> [usize; 2] {
        let Definition {
            block, block_bytes, ..
        } = self.0;
        [elements.div_ceil(*block as usize), *block_bytes as usize]
    }

    /// How many bytes a range of `elements` takes. It ends at a whole word.
    pub const fn range_bytes(self, elements: u64) -> u64 {
        self.bytes(elements).next_multiple_of(BINDING_STEP)
    }

    /// Whether two elements share a word.
    pub fn is_half(self) -> bool {
        self.0.block_bytes == 2
    }

    /// How many elements the last block has beyond the last of `elements`.
    pub fn padding(self, elements: usize) -> usize {
        elements.next_multiple_of(self.0.block as usize) - elements
    }

    /// Makes zeros of what means nothing, beyond the last of `elements`. The elements keep their bits: to encode
    /// them anew could change them.
    pub fn clear_padding(self, bytes: &mut [u8], elements: usize) {
        let ([_, of_block], padding) = (self.blocks(elements), self.padding(elements));
        if padding > 0
            && let Some(start) = bytes.len().checked_sub(of_block)
        {
            let first = self.0.block as usize - padding;
            (self.0.clear)(&mut bytes[start..], first);
        }
    }

    /// Whether elements are encoded in blocks, each with its scale.
    pub fn is_in_blocks(self) -> bool {
        self.0.block > 1
    }

    /// How many bytes `elements` from the start of a block on take.
    pub const fn bytes(self, elements: u64) -> u64 {
        elements.div_ceil(self.0.block) * self.0.block_bytes
    }

    /// How many bytes `count` elements and what lies beside them take.
    pub fn stored_bytes(self, count: usize) -> [usize; 2] {
        let bytes = |encoding: Self| encoding.bytes(count as u64) as usize;
        [bytes(self), self.residual().map_or(0, bytes)]
    }

    /// How many elements `bytes` hold.
    pub const fn elements(self, bytes: u64) -> u64 {
        bytes / self.0.block_bytes * self.0.block
    }

    /// Bytes that a shader moves at once. They must begin at a multiple of this.
    pub const fn quad_bytes(self) -> u64 {
        self.bytes(QUAD)
    }

    /// Every device can begin a binding at a multiple of this many elements.
    pub const fn unit(self) -> u64 {
        // The bytes of a block are a small power of two times an odd number.
        let shared = 1 << self.0.block_bytes.trailing_zeros();
        self.0.block * (BINDING_ALIGNMENT / shared)
    }

    /// The bytes of these values in a buffer, each rounded to the nearest.
    pub fn encoded(self, values: &[f32]) -> Vec<u8> {
        let mut bytes = vec![0; self.bytes(values.len() as u64) as usize];
        self.encode(values, 0, Rounding::Nearest, &mut bytes);
        bytes
    }

    /// Fills the [`bytes`](Self::bytes) of these values. `first` is the number of the first element, at the
    /// start of a block and of a quad.
    pub fn encode(self, values: &[f32], first: u64, rounding: Rounding, bytes: &mut [u8]) {
        (self.0.encode)(values, first, rounding, bytes);
    }

    /// [`encoded`](Self::encoded), if there is memory for it.
    pub fn try_encoded(self, values: &[f32]) -> Result<Vec<u8>, Error> {
        // A range in a buffer ends at a whole word.
        let size = self.range_bytes(values.len() as u64) as usize;
        let mut bytes = reserved(size, "bytes to write")?;
        bytes.resize(self.bytes(values.len() as u64) as usize, 0);
        self.encode(values, 0, Rounding::Nearest, &mut bytes);
        Ok(bytes)
    }

    /// The values of these bytes of a buffer.
    pub fn decode(self, bytes: &[u8], values: &mut [f32]) {
        (self.0.decode)(bytes, values);
    }

    /// Replaces values by what remains of them once they are stored. `first` is the number of the first
    /// element, at the start of a block and of a quad.
    pub fn round(self, values: &mut [f32], first: u64, rounding: Rounding) {
        let mut bytes = vec![0; self.bytes(values.len() as u64) as usize];
        self.encode(values, first, rounding, &mut bytes);
        let residual = self
            .residual()
            .map(|residual| (residual, residual.encoded(values)));
        self.decode(&bytes, values);
        if let Some((residual, bytes)) = residual {
            residual.decode(&bytes, values);
        }
    }
}

impl PartialEq for Encoding {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Encoding {}

impl std::hash::Hash for Encoding {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.name().hash(state);
    }
}

impl fmt::Debug for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Default for Encoding {
    fn default() -> Self {
        Self::F32
    }
}

/// How all that a step reads and writes per element is stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Storage {
    pub params: Encoding,
    pub grads: Encoding,
    /// The format of the rule's own slots.
    pub state: Format,
    /// That of those that stay f32 unless asked.
    pub sensitive: Format,
    /// That of what lies beside the parameters, like a slot: a copy of them, or what their own bits lack.
    pub beside: Option<Encoding>,
}

impl Storage {
    /// The most bytes that `elements` take in any slot.
    pub fn slot_bytes(&self, elements: u64) -> u64 {
        let bytes = self.slots().map(|encoding| encoding.bytes(elements));
        bytes.into_iter().max().unwrap_or(0)
    }

    /// The most bytes that `elements` take anywhere.
    pub fn most_bytes(&self, elements: u64) -> u64 {
        let [params, grads] = [self.params, self.grads].map(|encoding| encoding.bytes(elements));
        self.slot_bytes(elements).max(params).max(grads)
    }

    /// Every device can begin a binding of any slot at a multiple of this many elements.
    pub fn slot_unit(&self) -> u64 {
        let units = self.slots().map(Encoding::unit);
        units.into_iter().max().unwrap_or(1)
    }

    /// The encoding of the copy of the parameters, if there is one.
    pub fn copy(&self) -> Option<Encoding> {
        self.beside.filter(|_| self.params.residual().is_none())
    }

    /// At a multiple of this many elements, no slot's block is cut.
    pub fn slot_block(&self) -> u64 {
        let blocks = self.slots().map(|encoding| encoding.0.block);
        blocks.into_iter().max().unwrap_or(1)
    }

    /// See [`Formats::of_state`].
    fn format_of(&self, precision: Precision) -> Format {
        match precision {
            Precision::Signed | Precision::NonNegative => self.state,
            Precision::Sensitive => self.sensitive,
            Precision::Exact => Format::F32,
        }
    }

    /// How the values of a slot are stored.
    pub fn of_slot(&self, precision: Precision) -> Encoding {
        self.format_of(precision).encoding(precision)
    }

    /// The encodings that slots may have, and what lies like them.
    pub fn slots(&self) -> [Encoding; 5] {
        let [exact, sensitive, signed, non_negative] = [
            Precision::Exact,
            Precision::Sensitive,
            Precision::Signed,
            Precision::NonNegative,
        ]
        .map(|precision| self.of_slot(precision));
        let beside = self.beside.unwrap_or(exact);
        [exact, sensitive, signed, non_negative, beside]
    }
}

impl From<Formats> for Storage {
    fn from(formats: Formats) -> Self {
        let Formats {
            params,
            grads,
            state,
            sensitive,
            copy,
            seed: _,
        } = formats;
        let params = params.encoding(Precision::Signed);
        let copy = copy.map(|copy| copy.encoding(Precision::Signed));
        Self {
            params,
            grads: grads.encoding(Precision::Signed),
            state,
            sensitive,
            beside: copy.or(params.residual()),
        }
    }
}

#[cfg(test)]
mod tests;
