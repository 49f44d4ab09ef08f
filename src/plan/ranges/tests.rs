//! Every element is in one span, wherever tensors lie.

use super::super::{
    limits::BLOCK,
    samples::{COUNTS, TINY, WIDE},
    span::as_one,
};
use super::{copies::copy_bytes, *};
use crate::{
    Precision,
    format::{Encoding, Format, QUAD},
};

/// Checks that every element of every tensor is in exactly one span, at its own place, and that
/// wgpu accepts every binding.
fn check(tensors: &[TensorRanges], limits: &DispatchLimits) -> Vec<RangeWindow> {
    check_in(&Storage::default(), tensors, limits)
}

fn check_in(
    storage: &Storage,
    tensors: &[TensorRanges],
    limits: &DispatchLimits,
) -> Vec<RangeWindow> {
    let windows = range_windows(tensors, BLOCK, storage, limits);
    let [of_param, of_grad] = [storage.params, storage.grads].map(|encoding| encoding.bytes(1));
    let of_copy = copy_bytes(storage, 1);
    let mut expected = Vec::new();
    for tensor in tensors {
        for i in 0..tensor.count {
            expected.push((
                tensor.param_buffer,
                tensor.param_offset + of_param * i,
                tensor.grad_buffer,
                tensor.grad_offset + of_grad * i,
                tensor
                    .copy
                    .map(|copy| (copy.buffer, copy.offset + of_copy * i)),
                tensor.state + i,
            ));
        }
    }
    let mut found = Vec::new();
    for window in &windows {
        for encoding in storage.slots() {
            let start = encoding.bytes(window.state.start);
            assert_eq!(start % limits.offset_alignment, 0);
            assert!(encoding.bytes(length(&window.state)) <= limits.binding_bytes);
        }
        assert_eq!(window.state.start % TENSOR_ALIGNMENT as u64, 0);
        assert_eq!(window.state.end % QUAD, 0);
        let copies = window.copies.as_ref();
        for range in [&window.params, &window.grads]
            .into_iter()
            .chain(copies.map(|copies| &copies.bytes))
        {
            assert_eq!(range.start % limits.offset_alignment, 0);
            assert_eq!(range.end % 4, 0);
            assert!(length(range) <= limits.binding_bytes);
        }
        match window.grad_place {
            GradPlace::OwnBuffer => assert_ne!(window.param_buffer, window.grad_buffer),
            GradPlace::SameBuffer => {
                assert_eq!(window.param_buffer, window.grad_buffer);
                let (p, g) = (&window.params, &window.grads);
                assert!(p.end <= g.start || g.end <= p.start, "{p:?} overlaps {g:?}");
            }
            GradPlace::InParams => assert_eq!(window.params, window.grads),
        }
        let [x, y] = window.grid;
        assert!(x.max(y) <= limits.workgroups_per_dimension);
        assert_eq!(window.spans.len() as u64, u64::from(x) * u64::from(y));
        // What runs as one span has the same elements in each workgroup.
        if let Some(one) = as_one(&window.spans) {
            let parts = (0..one.count).step_by(BLOCK as usize).map(|first| Span {
                count: (one.count - first).min(BLOCK as u32),
                ..one.after(first)
            });
            let spans = window.spans.iter().copied();
            let spans = spans.filter(|span| *span != Span::default());
            assert!(parts.eq(spans), "{one:?}");
        }
        let row = if copies.is_some() { 20 } else { 16 };
        assert_eq!(window.table().len(), row * window.spans.len());
        assert!(window.table().len() as u64 <= limits.binding_bytes);
        for (index, span) in window.spans.iter().enumerate() {
            let Span {
                param,
                grad,
                state,
                count,
            } = *span;
            if *span == Span::default() {
                continue;
            }
            let copy = copies.map(|copies| u64::from(copies.firsts[index]));
            assert!(0 < count && u64::from(count) <= BLOCK);
            assert_eq!(state % 4, 0);
            if window.width == Width::Quads {
                assert_eq!((param % 4, grad % 4, count % 4), (0, 0, 0));
                assert_eq!(copy.unwrap_or(0) % 4, 0);
            }
            // A word has two elements, and no two spans share one.
            assert_eq!(copy.unwrap_or(0) % 2, 0);
            for i in 0..u64::from(count) {
                let param = window.params.start + of_param * (u64::from(param) + i);
                let grad = window.grads.start + of_grad * (u64::from(grad) + i);
                let state = window.state.start + u64::from(state) + i;
                assert!(param < window.params.end && grad < window.grads.end);
                assert!(state < window.state.end);
                let copy = copies.zip(copy).map(|(copies, first)| {
                    let byte = copies.bytes.start + of_copy * (first + i);
                    assert!(byte < copies.bytes.end);
                    (copies.buffer, byte)
                });
                let (params_in, grads_in) = (window.param_buffer, window.grad_buffer);
                found.push((params_in, param, grads_in, grad, copy, state));
            }
        }
    }
    expected.sort_unstable();
    found.sort_unstable();
    assert!(expected == found, "not every element exactly once");
    windows
}

/// Tensors of these sizes, packed without gaps. Parameters are in buffer 0, and gradients as
/// given.
fn packed(counts: &[u64], start: u64, grad_buffer: usize, grad_start: u64) -> Vec<TensorRanges> {
    let mut offset = 0;
    let mut state = 0;
    counts
        .iter()
        .map(|&count| {
            let tensor = TensorRanges {
                param_buffer: 0,
                param_offset: start + offset,
                grad_buffer,
                grad_offset: grad_start + offset,
                copy: None,
                state,
                count,
                matrices: None,
            };
            offset += 4 * count;
            state += count.next_multiple_of(64);
            tensor
        })
        .collect()
}

#[test]
fn ranges_in_one_pair_of_buffers_share_a_dispatch_per_width() {
    let windows = check(&packed(&[64; 500], 0, 1, 0), &WIDE);
    assert_eq!(windows.len(), 1);
    assert_eq!(windows[0].width, Width::Quads);
    // The odd sizes move all tensors after the first off the 16-byte grid.
    let windows = check(&packed(&COUNTS, 0, 1, 0), &WIDE);
    assert_eq!(windows.len(), 2);
}

#[test]
fn a_large_aligned_tensor_moves_by_quads_but_for_its_last_elements() {
    let windows = check(&packed(&[1_000_003], 0, 1, 16), &WIDE);
    let scalars: u32 = windows
        .iter()
        .filter(|window| window.width == Width::Scalars)
        .flat_map(|window| &window.spans)
        .map(|span| span.count)
        .sum();
    assert_eq!(scalars, 3);
}

#[test]
fn every_element_is_stepped_once_whatever_the_offsets_and_limits() {
    let folded = DispatchLimits {
        workgroups_per_dimension: 2,
        ..WIDE
    };
    let unaligned = DispatchLimits {
        offset_alignment: 32,
        ..TINY
    };
    for limits in [WIDE, TINY, folded, unaligned] {
        for start in [0, 4, 12, 16, 100, 252, 256, 260] {
            for grad_start in [0, 8, 16, 300] {
                check(&packed(&COUNTS, start, 1, grad_start), &limits);
            }
            // All lie in one allocation: right behind each other, or too far apart for one
            // binding.
            let bytes: u64 = start + 4 * COUNTS.iter().sum::<u64>();
            for gap in [0, 4, 16, 4000, 14_000, 16_384, 40_000, 1 << 20] {
                check(&packed(&COUNTS, start, 0, bytes + gap), &limits);
                // Here the gradients come first.
                let grad_start = start;
                check(&packed(&COUNTS, bytes + gap, 0, grad_start), &limits);
            }
        }
    }
}

#[test]
fn a_gradient_right_behind_its_parameters_never_shares_a_byte_with_their_binding() {
    // These sizes lie around the distance beyond which one binding cannot hold both.
    for count in 3000..3300 {
        for start in [0, 100, 252] {
            let end = start + 4 * count;
            check(&packed(&[count], start, 0, end), &TINY);
            check(&packed(&[count], end, 0, start), &TINY);
        }
    }
}

#[test]
fn params_and_grads_interleaved_in_one_buffer_are_covered() {
    let tensors: Vec<_> = (0..60)
        .map(|i| TensorRanges {
            param_buffer: 0,
            param_offset: i * 2 * 400,
            grad_buffer: 0,
            grad_offset: i * 2 * 400 + 400,
            copy: None,
            state: i * 128,
            count: 100,
            matrices: None,
        })
        .collect();
    let windows = check(&tensors, &WIDE);
    assert_eq!(windows.len(), 1);
    check(&tensors, &TINY);
    // Here the gradients are in the opposite order.
    let turned: Vec<_> = tensors
        .iter()
        .zip(tensors.iter().rev())
        .map(|(tensor, other)| TensorRanges {
            grad_offset: other.grad_offset,
            ..*tensor
        })
        .collect();
    check(&turned, &WIDE);
    check(&turned, &TINY);
}

#[test]
fn every_element_is_stepped_once_whatever_the_formats() {
    let bf16 = Format::Bf16.encoding(Precision::Signed);
    let f32 = Storage::default();
    let all = Storage {
        params: bf16,
        grads: bf16,
        state: Format::Bf16,
        ..f32
    };
    let int8 = Storage {
        state: Format::Int8,
        ..f32
    };
    let [params, grads, state] = [
        Storage {
            params: bf16,
            ..f32
        },
        Storage { grads: bf16, ..f32 },
        Storage {
            state: Format::Bf16,
            ..f32
        },
    ];
    for storage in [all, params, grads, state, int8] {
        for limits in [WIDE, TINY] {
            for start in [0, 4, 16, 256, 260] {
                let mut offsets = [start, start + 8];
                let mut state = 0;
                let tensor = |&count: &u64| {
                    let tensor = TensorRanges {
                        param_buffer: 0,
                        param_offset: offsets[0],
                        grad_buffer: 1,
                        grad_offset: offsets[1],
                        copy: None,
                        state,
                        count,
                        matrices: None,
                    };
                    // Elements of fewer than four bytes begin and end at multiples of four
                    // bytes.
                    let next = |encoding: Encoding| encoding.bytes(count).next_multiple_of(4);
                    offsets[0] += next(storage.params);
                    offsets[1] += next(storage.grads);
                    state += count.next_multiple_of(TENSOR_ALIGNMENT as u64);
                    tensor
                };
                let tensors: Vec<_> = COUNTS.iter().map(tensor).collect();
                check_in(&storage, &tensors, &limits);
            }
        }
    }
}

#[test]
fn every_copy_is_bound_once_wherever_it_lies() {
    let halves = Format::F16.encoding(Precision::Signed);
    for state in [Format::F32, Format::Int8] {
        let storage = Storage {
            state,
            beside: Some(halves),
            ..Storage::default()
        };
        for limits in [WIDE, TINY] {
            for (grad_buffer, grad_start) in [(1, 0), (0, 1 << 20)] {
                for start in [0, 4, 8, 252, 260] {
                    let mut tensors = packed(&COUNTS, 0, grad_buffer, grad_start);
                    let (mut end, mut state) = (start, 0);
                    for tensor in &mut tensors {
                        let copy = CopyStart {
                            buffer: 2,
                            offset: end,
                        };
                        end += halves.range_bytes(tensor.count);
                        tensor.copy = Some(copy);
                        tensor.state = state;
                        state += tensor.count.next_multiple_of(128);
                    }
                    check_in(&storage, &tensors, &limits);
                    // Copies in several buffers, and far apart.
                    for (tensor, buffer) in tensors.iter_mut().zip([2, 3].into_iter().cycle()) {
                        let copy = tensor.copy.as_mut().unwrap();
                        copy.offset *= 1000;
                        copy.buffer = buffer;
                    }
                    check_in(&storage, &tensors, &limits);
                }
            }
        }
    }
}

#[test]
fn a_copy_off_the_quads_moves_alone_and_one_on_them_does_not() {
    let storage = Storage {
        beside: Some(Format::Bf16.encoding(Precision::Signed)),
        ..Storage::default()
    };
    for (offset, width) in [(8, Width::Quads), (4, Width::Scalars)] {
        let mut tensors = packed(&[128; 9], 0, 1, 0);
        for (tensor, index) in tensors.iter_mut().zip(0..) {
            tensor.copy = Some(CopyStart {
                buffer: 2,
                offset: offset + 256 * index,
            });
        }
        let windows = check_in(&storage, &tensors, &WIDE);
        let widths: Vec<_> = windows.iter().map(|window| window.width).collect();
        assert_eq!(widths, [width]);
    }
}
