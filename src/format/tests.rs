use super::*;
use crate::{GROUP_ALIGNMENT, TENSOR_ALIGNMENT};

const BF16: Encoding = Format::Bf16.encoding(Precision::Signed);
const PLUS_8: Encoding = Format::Bf16Plus8.encoding(Precision::Signed);
const INT8: Encoding = Format::Int8.encoding(Precision::Signed);
const UINT8: Encoding = Format::Int8.encoding(Precision::NonNegative);

#[test]
fn names_are_read_back_and_others_are_refused() {
    for &format in Format::ALL {
        assert_eq!(format.to_string().parse(), Ok(format));
    }
    let error = "fp8".parse::<Format>().unwrap_err().to_string();
    assert!(
        error.contains("fp8") && error.contains(&listed(Format::ALL)),
        "{error}"
    );
}

#[test]
fn a_binding_begins_at_a_unit_and_a_group_ends_at_a_whole_block() {
    assert_eq!(TENSOR_ALIGNMENT as u64 % Encoding::F32.unit(), 0);
    for encoding in Encoding::ALL {
        assert_eq!(GROUP_ALIGNMENT as u64 % encoding.0.block, 0, "{encoding:?}");
        assert_eq!(
            TENSOR_ALIGNMENT as u64 % encoding.0.block,
            0,
            "{encoding:?}"
        );
        let unit = encoding.unit();
        // So a window can begin at every block.
        assert!(unit <= GROUP_ALIGNMENT as u64, "{encoding:?}");
        assert_eq!(encoding.bytes(unit) % BINDING_ALIGNMENT, 0, "{encoding:?}");
        assert_eq!(
            encoding.elements(encoding.bytes(unit)),
            unit,
            "{encoding:?}"
        );
        let bytes = encoding.encoded(&[1.5; 7]);
        assert_eq!(bytes.len() as u64, encoding.bytes(7));
        let mut values = [0.0; 7];
        encoding.decode(&bytes, &mut values);
        assert_eq!(values, [1.5; 7]);
    }
    assert_eq!((BF16.unit(), INT8.unit()), (128, 1024));
    assert_eq!((INT8.bytes(64), INT8.bytes(65)), (80, 160));
}

#[test]
fn the_widest_slot_counts_for_bytes_and_the_narrowest_for_units() {
    let storage = |state| Storage {
        state,
        ..Storage::default()
    };
    let bf16 = storage(Format::Bf16);
    assert_eq!(
        (bf16.slot_bytes(3), bf16.slot_unit(), bf16.slot_block()),
        (12, 128, 1)
    );
    let int8 = storage(Format::Int8);
    assert_eq!(
        (int8.slot_bytes(64), int8.slot_unit(), int8.slot_block()),
        (256, 1024, 64)
    );
}

/// The value that one of a block with this largest magnitude becomes.
fn stored(encoding: Encoding, top: u32, bits: u32, random: Option<u32>) -> u32 {
    // With random bits, encode by the functions themselves.
    let signed = encoding == INT8;
    let mut values = [0.0; 64];
    values[0] = f32::from_bits(top);
    values[1] = f32::from_bits(bits);
    match random {
        None => encoding.round(&mut values, 0, Rounding::Nearest),
        Some(random) => int8::round_with(signed, &mut values, random),
    }
    assert_eq!(values[0].to_bits(), top);
    values[1].to_bits()
}

#[test]
fn the_log_code_gives_the_values_of_its_definition() {
    // Top, bits, random bits or nearest, decoded without a sign and with one.
    let cases = [
        (0x3f80_0000, 0x3f80_0000, None, 0x3f80_0000, 0x3f80_0000),
        (0x3f80_0000, 0x3f7c_0000, None, 0x3f78_0000, 0x3f78_0000),
        (0x3f80_0000, 0x3f7b_ffff, None, 0x3f78_0000, 0x3f78_0000),
        (
            0x3f80_0000,
            0x3f7c_0000,
            Some(0xffff),
            0x3f78_0000,
            0x3f78_0000,
        ),
        (0x3f81_2345, 0x3e9a_bcde, None, 0x3e99_2345, 0x3e99_2345),
        (
            0x3f81_2345,
            0x3e9a_bcde,
            Some(0x1234),
            0x3ea1_2345,
            0x3ea1_2345,
        ),
        (0x3f81_2345, 0x3b03_126f, None, 0x3b01_2345, 0x3b01_2345),
        (
            0x3f81_2345,
            0x3951_b717,
            Some(0x8000),
            0x3951_2345,
            0x3961_2345,
        ),
        (0x3f81_2345, 0x33d6_bf95, None, 0x33e1_2345, 0),
        (0x3f81_2345, 0x2edb_e6ff, None, 0x2fc1_2345, 0),
        (0x3f81_2345, 1, None, 0, 0),
        (0x00c0_0000, 0x0080_0000, None, 0x0080_0000, 0x0080_0000),
    ];
    for (top, bits, random, non_negative, signed) in cases {
        for (encoding, expected) in [(UINT8, non_negative), (INT8, signed)] {
            let found = stored(encoding, top, bits, random);
            assert_eq!(
                found, expected,
                "{encoding:?}, {bits:#x} below {top:#x}, {random:x?}"
            );
        }
        let negative = stored(INT8, top, bits | 1 << 31, random);
        assert_eq!(negative, signed | 1 << 31);
    }
}

#[test]
fn whatever_lies_in_a_file_is_read_as_some_numbers() {
    for encoding in Encoding::ALL {
        for start in 0..=u8::MAX {
            let step = if start % 2 == 0 { 0u64 } else { 37 };
            let bytes: Vec<_> = (0..encoding.bytes(128))
                .map(|index| start.wrapping_add((step * index) as u8))
                .collect();
            let mut values = [0.0; 128];
            encoding.decode(&bytes, &mut values);
            // What can be read can be stored again.
            encoding.round(&mut values, 0, Rounding::Nearest);
        }
    }
}

/// 16 elements within 40 octaves of one another, some of them zero.
fn random_block(block: u32) -> [f32; 16] {
    let largest = pcg(pcg(block)) % 254;
    std::array::from_fn(|index| {
        let random = pcg(16 * block + index as u32);
        let exponent = (1 + largest).saturating_sub(pcg(random) % 40).max(1);
        let bits = random & 0x807f_ffff | exponent << 23;
        f32::from_bits(if random.is_multiple_of(16) { 0 } else { bits })
    })
}

/// A million blocks. An element lies at a distance from the largest, of which its range keeps multiples of a step: 2¹⁹
/// up to l octaves, 2²⁰ up to 2l, then 2²¹, where 2²³ are an octave. So the nearest is off by half of a step at most,
/// and what is rounded by chance by less than one. The farthest that is kept is at 4l − ½ octaves. Beyond it, what is
/// not negative is stored as that, and what is signed as zero once it rounds to 4l − ¼. What decodes to less than
/// the smallest normal number is that, and so nearer.
#[test]
fn a_million_blocks_come_back_within_a_step_of_each_elements_range() {
    let by_chance = Rounding::Stochastic(Noise::new(pcg(3), 1, 2));
    let later = Rounding::Stochastic(Noise::new(pcg(3), 2, 2));
    let mut zeros = 0;
    for (encoding, l) in [(INT8, 4), (UINT8, 8)] {
        for (rounding, seed) in [(Rounding::Nearest, 0), (by_chance, 1)] {
            for row in 0..1 << 16 {
                let blocks = [0, 1, 2, 3].map(|of_row| random_block(8 * row + 2 * of_row + seed));
                let mut values = blocks.as_flattened().to_vec();
                if encoding == UINT8 {
                    values.iter_mut().for_each(|value| *value = value.abs());
                }
                let mut found = values.clone();
                encoding.round(&mut found, 64 * u64::from(row), rounding);
                let mut again = found.clone();
                encoding.round(&mut again, 0, later);
                // What was rounded stays, but for the smallest: no step leads to it.
                let is_smallest = |value: f32| value.abs() == f32::MIN_POSITIVE;
                let mut both = found.iter().zip(&again);
                let stay = both.all(|(found, again)| found == again || is_smallest(*found));
                assert!(stay, "{encoding:?}: {found:?} became {again:?}");
                for (values, found) in values.chunks(16).zip(found.chunks(16)) {
                    let magnitude = |value: &f32| value.to_bits() & 0x7fff_ffff;
                    let top = values.iter().map(magnitude).max().unwrap();
                    for (value, found) in values.iter().zip(found) {
                        let [before, after] = [value, found].map(magnitude);
                        let label = || format!("{value:e} became {found:e}, top {top:#x}");
                        if before == 0 {
                            assert_eq!(after, 0, "{}", label());
                            continue;
                        }
                        assert!(value.is_sign_negative() == found.is_sign_negative());
                        let distance = top - before;
                        let range = (distance / (l << 23)).min(2);
                        let step = 1u32 << (19 + range);
                        let off = match rounding {
                            Rounding::Nearest => step / 2,
                            Rounding::Stochastic(_) => step - 1,
                        };
                        let farthest = ((4 * l) << 23) - (1 << 22);
                        if after == 0 {
                            zeros += 1;
                            let is_far = distance + off >= farthest + step;
                            assert!(encoding == INT8 && is_far, "{}", label());
                        } else if distance > farthest {
                            assert_eq!(after, (top - farthest).max(0x80_0000), "{}", label());
                        } else {
                            assert!(before.abs_diff(after) <= off, "{}", label());
                        }
                    }
                }
            }
        }
    }
    assert!(zeros > 10_000, "{zeros}");
}

/// A value that was stored once is not rounded again.
#[test]
fn what_was_rounded_stays() {
    let noise = Noise::new(pcg(3), 1, 2);
    for encoding in Encoding::ALL {
        let mut values: Vec<_> = (0..200).map(|i| (i as f32 * 0.7).sin().abs()).collect();
        encoding.round(&mut values, 0, Rounding::Stochastic(noise));
        let once = values.clone();
        let later = Noise::new(pcg(3), 2, 2);
        encoding.round(&mut values, 0, Rounding::Stochastic(later));
        assert_eq!(values, once, "{encoding:?}");
    }
}

/// Whatever scales and codes there are, also such as no encoder gives.
#[test]
fn what_is_cleared_is_zero_and_what_is_not_keeps_its_bits() {
    for encoding in Encoding::ALL {
        let block = encoding.0.block as usize;
        for elements in [1, 15, 16, 17, 63, 64, 65, 100] {
            let length = encoding.bytes(elements) as usize;
            let bytes: Vec<_> = (0..length).map(|i| (37 * i + 11) as u8).collect();
            let mut cleared = bytes.clone();
            encoding.clear_padding(&mut cleared, elements as usize);
            let count = length / encoding.0.block_bytes as usize * block;
            let [before, after] = [&bytes, &cleared].map(|bytes| {
                let mut values = vec![0.0; count];
                encoding.decode(bytes, &mut values);
                values
                    .iter()
                    .map(|value| value.to_bits())
                    .collect::<Vec<_>>()
            });
            let (own, beyond) = after.split_at(elements as usize);
            assert_eq!(own, &before[..elements as usize], "{encoding:?}");
            assert!(beyond.iter().all(|bits| *bits == 0), "{encoding:?}");
            let mut again = cleared.clone();
            encoding.clear_padding(&mut again, elements as usize);
            assert_eq!(again, cleared, "{encoding:?}");
        }
    }
}

/// The values of its definition: an f32's bits, the bf16, the residual, the bits of what comes back.
#[test]
fn a_bf16_and_8_bits_are_the_nearest_float_of_24_bits() {
    let cases = [
        (0x3f80_0000, 0x3f80, 0, 0x3f80_0000),
        (0x3f80_80ff, 0x3f81, -127, 0x3f80_8100),
        (0x3f80_8080, 0x3f81, -127, 0x3f80_8100),
        (0x3f80_7f7f, 0x3f80, 127, 0x3f80_7f00),
        (0x3fff_ffff, 0x4000, 0, 0x4000_0000),
        (0xbf7f_ff80, 0xbf80, 0, 0xbf80_0000),
        (0x0001_2345, 0x0001, 35, 0x0001_2300),
        (0x7f7f_ff7f, 0x7f80, -1, 0x7f7f_ff00),
        (0xc049_0fdb, 0xc049, 16, 0xc049_1000),
        (0x0000_0000, 0x0000, 0, 0x0000_0000),
        (0x8000_0000, 0x8000, 0, 0x8000_0000),
        (0x7f80_0000, 0x7f80, 0, 0x7f80_0000),
        (0xff80_0000, 0xff80, 0, 0xff80_0000),
        (0x7fff_ffff, 0x7fc0, 0, 0x7fc0_0000),
        (0x7f80_0001, 0x7fc0, 0, 0x7fc0_0000),
    ];
    let residual = PLUS_8.residual().unwrap();
    for (bits, half, rest, back) in cases {
        let mut values = [f32::from_bits(bits)];
        assert_eq!(PLUS_8.encoded(&values), u16::to_le_bytes(half), "{bits:#x}");
        assert_eq!(residual.encoded(&values), [rest as i8 as u8], "{bits:#x}");
        PLUS_8.round(&mut values, 0, Rounding::Nearest);
        assert_eq!(values[0].to_bits(), back, "{bits:#x}");
    }
}

/// All that 24 bits can say comes back, and all else moves by half of their last place at most.
#[test]
fn no_value_moves_further_than_to_its_nearest_of_24_bits() {
    for start in (0..=u32::MAX).step_by(1 << 24) {
        // All exponents of both signs, and one in 257 of the mantissas.
        let bits: Vec<_> = (start..=start | 0xff_ffff).step_by(257).collect();
        let mut values: Vec<_> = bits.iter().map(|bits| f32::from_bits(*bits)).collect();
        PLUS_8.round(&mut values, 0, Rounding::Nearest);
        for (bits, value) in bits.into_iter().zip(values) {
            let back = value.to_bits();
            let before = f32::from_bits(bits);
            match before.is_finite() {
                true => assert!(bits.abs_diff(back) <= 0x80, "{bits:#x} became {back:#x}"),
                false => assert_eq!(before.is_nan(), value.is_nan(), "{bits:#x}"),
            }
            assert!(back & 0xff == 0, "{bits:#x} became {back:#x}");
            let mut again = [value];
            PLUS_8.round(&mut again, 0, Rounding::Nearest);
            assert!(again[0].to_bits() == back, "{back:#x}");
        }
    }
}

/// A buffer that others wrote may have any bf16 beside what was left of another number. No number becomes
/// NaN by that, and none moves by more than half of a bf16's last place.
#[test]
fn a_bf16_beside_a_strange_residual_stays_what_it_is() {
    let residual = PLUS_8.residual().unwrap();
    for half in 0..=u16::MAX {
        let bits = u32::from(half) << 16;
        if !f32::from_bits(bits).is_finite() {
            continue;
        }
        for rest in [-128i8, -1, 0, 1, 127] {
            let mut values = [0.0];
            PLUS_8.decode(&half.to_le_bytes(), &mut values);
            residual.decode(&[rest as u8], &mut values);
            let found = values[0].to_bits();
            assert!(
                found.abs_diff(bits) <= 0x8000,
                "{half:#x}, {rest}: {found:#x}"
            );
        }
    }
}

/// All 2¹⁶ halves come back from f32 as they were, but for the payload of NaN.
#[test]
fn every_half_comes_back() {
    let f16 = Format::F16.encoding(Precision::Signed);
    for encoding in [BF16, f16, PLUS_8] {
        let halves: Vec<_> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
        let mut values = vec![0.0; 1 << 16];
        encoding.decode(&halves, &mut values);
        let back = encoding.encoded(&values);
        let pairs = back.chunks(2).zip(halves.chunks(2)).zip(&values);
        for ((back, half), value) in pairs {
            assert!(
                back == half || value.is_nan(),
                "{encoding:?} {half:?}: {back:?}"
            );
        }
    }
}

/// All upper halves of an average, each with what lies around a tie of both formats.
fn hostile_averages() -> Vec<u32> {
    let tails = [
        0u32, 1, 0x7e, 0x7f, 0x80, 0x81, 0xff, 0x100, 0x7f7f, 0x7f80, 0x7fff, 0x8000, 0x8001,
        0x807f, 0x8080, 0xff7f, 0xff80, 0xffff,
    ];
    let uppers = (0..=u32::from(u16::MAX)).map(|upper| upper << 16);
    let all = uppers.flat_map(|upper| tails.map(|tail| upper | tail));
    all.collect()
}

#[test]
fn parameters_and_their_average_are_swapped_and_come_back_to_the_bit() {
    let averages = hostile_averages();
    for encoding in [BF16, PLUS_8] {
        let lower = encoding.lower_bits().unwrap();
        let half = lower / 2 + 1;
        // Everything that can be stored, in turn.
        let mut params: Vec<_> = (0..averages.len() as u32)
            .map(|index| f32::from_bits(index.wrapping_mul(0x9e37_79b9)))
            .collect();
        encoding.round(&mut params, 0, Rounding::Nearest);
        let mut shown = params.clone();
        let mut words: Vec<_> = averages.iter().map(|bits| f32::from_bits(*bits)).collect();
        encoding.swap_in(&mut shown, &mut words);
        for ((bits, shown), word) in averages.iter().zip(&shown).zip(&words) {
            let average = f32::from_bits(*bits);
            assert_eq!(average.is_nan(), shown.is_nan(), "{bits:#x}");
            assert_eq!(bits >> 31, shown.to_bits() >> 31, "{bits:#x}");
            if !average.is_nan() {
                let distance = bits.abs_diff(shown.to_bits());
                assert!(distance <= half, "{bits:#x} is shown as {shown:e}");
            }
            assert_eq!(word.to_bits() & lower, bits & lower, "{bits:#x}");
        }
        let mut stored = shown.clone();
        encoding.round(&mut stored, 0, Rounding::Nearest);
        let bits = |values: &[f32]| -> Vec<_> { values.iter().map(|p| p.to_bits()).collect() };
        assert!(bits(&stored) == bits(&shown), "{encoding:?}");
        encoding.swap_back(&mut shown, &mut words);
        assert!(bits(&shown) == bits(&params), "{encoding:?}");
        for (bits, back) in averages.iter().zip(bits(&words)) {
            let is_nan = f32::from_bits(*bits).is_nan();
            let is_kept = encoding == BF16 && bits & 0x40_0000 != 0;
            match is_nan && !is_kept {
                true => {
                    assert!(f32::from_bits(back).is_nan() && (bits ^ back) & (lower | 1 << 31) == 0)
                }
                false => assert_eq!(*bits, back),
            }
        }
    }
}

/// Where a bf16 is read alone, it is the nearest.
#[test]
fn what_rounds_nothing_keeps_every_number_to_the_bit() {
    for encoding in Encoding::ALL.iter().filter(|encoding| !encoding.rounds()) {
        let all: Vec<_> = hostile_averages().into_iter().map(f32::from_bits).collect();
        let mut found = all.clone();
        encoding.round(&mut found, 0, Rounding::Nearest);
        let mut alone = all.clone();
        encoding.decode(&encoding.encoded(&all), &mut alone);
        for ((value, found), alone) in all.iter().zip(found).zip(alone) {
            let [bits, found_bits] = [value.to_bits(), found.to_bits()];
            let label = format!("{encoding:?}: {bits:#x} became {found_bits:#x}");
            assert_eq!(bits >> 31, found_bits >> 31, "{label}");
            assert_eq!(
                (value.is_nan(), value.is_nan()),
                (found.is_nan(), alone.is_nan()),
                "{label}"
            );
            assert!(value.is_nan() || bits == found_bits, "{label}");
            let distance = bits.abs_diff(alone.to_bits());
            assert!(
                value.is_nan() || distance <= 0x8000,
                "{alone:e} of {value:e}"
            );
        }
    }
}

/// Whatever number somebody writes in evaluation, and whatever lower bits it meets, it becomes a number next
/// to it.
#[test]
fn a_number_that_is_written_in_evaluation_stays_one() {
    for encoding in [BF16, PLUS_8] {
        let lower = encoding.lower_bits().unwrap();
        let all = hostile_averages();
        let mut written: Vec<_> = all.iter().map(|bits| f32::from_bits(*bits)).collect();
        written.retain(|value| value.is_finite());
        encoding.round(&mut written, 0, Rounding::Nearest);
        // Some become infinite.
        written.retain(|value| value.is_finite());
        for below in [0, 1, lower / 2, lower / 2 + 1, lower] {
            let mut words = vec![f32::from_bits(below); written.len()];
            let mut params = written.clone();
            encoding.swap_back(&mut params, &mut words);
            for (written, word) in written.iter().zip(words) {
                let distance = written.to_bits().abs_diff(word.to_bits());
                assert!(
                    distance <= lower && word.is_finite(),
                    "{written:e}: {word:e}"
                );
            }
        }
    }
}
