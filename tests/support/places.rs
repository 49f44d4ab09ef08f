//! Where parameters and gradients of any format can lie.

use wgpu_optim::{BufferRange, Buffers, DispatchLimits, Formats, Optimizer, Options};

use super::{Problem, Problems, buffer, only_group};

pub fn bits(tensors: &[Vec<f32>]) -> Vec<Vec<u32>> {
    let of_tensor = |values: &Vec<f32>| values.iter().map(|value| value.to_bits()).collect();
    tensors.iter().map(of_tensor).collect()
}

/// Where the last range ends.
pub fn end_of(ranges: &[BufferRange]) -> u64 {
    ranges.last().map_or(0, |last| last.offset + last.size)
}

/// Arenas, ranges on and off the quads, both in windows, and ranges of one buffer. If there are copies of
/// parameters: these in ranges too.
pub fn everywhere(problem: &Problem, options: &Options) -> Vec<(&'static str, Optimizer)> {
    let group = only_group(&problem.layout);
    let formats = problem.layout.formats(group).unwrap();
    let Formats { params, grads, .. } = formats;
    let tiny = Options {
        limits: Some(DispatchLimits {
            binding_bytes: 16 * 1024,
            offset_alignment: 256,
            workgroups_per_dimension: 3,
        }),
        ..options.clone()
    };
    let bytes = problem.packed_bytes() + 64;
    let over = |starts: [u64; 2], options: &Options| {
        let buffers = Buffers {
            params: problem.packed_in(params, &buffer(bytes), starts[0]),
            grads: Some(problem.packed_in(grads, &buffer(bytes), starts[1])),
            ..Default::default()
        };
        problem.over(buffers, options.clone())
    };
    let mut places = vec![
        ("an arena", problem.in_arena(options.clone())),
        ("ranges", over([0, 8], options)),
        ("ranges off the quads", over([4, 20], options)),
    ];
    let rule = problem.layout.rule(group).unwrap();
    // A matrix is bound as a whole.
    if rule.stages().matrix.is_none() {
        places.push(("ranges in windows", over([0, 16], &tiny)));
        places.push(("an arena in windows", problem.in_arena(tiny.clone())));
    }
    if params == grads {
        let both = buffer(2 * bytes);
        let of_params = problem.packed_in(params, &both, 0);
        let end = end_of(&of_params);
        let of_grads = problem.packed_in(grads, &both, end + 4);
        let buffers = Buffers {
            params: of_params,
            grads: Some(of_grads),
            ..Default::default()
        };
        let together = problem.over(buffers, options.clone());
        places.push(("ranges of one buffer", together));
    }
    if formats.copy.is_some() {
        places.extend(with_copies(problem, formats, options, &tiny));
    }
    places
}

/// Copies in a caller's ranges, on and off the quads.
fn with_copies(
    problem: &Problem,
    formats: Formats,
    options: &Options,
    tiny: &Options,
) -> Vec<(&'static str, Optimizer)> {
    let Formats { params, grads, .. } = formats;
    let bytes = problem.packed_bytes() + 64;
    let copies = |start| {
        let of_format = |copy| problem.packed_in(copy, &buffer(bytes), start);
        formats.copy.map(of_format)
    };
    let over = |starts: [u64; 3], options: &Options| {
        let buffers = Buffers {
            params: problem.packed_in(params, &buffer(bytes), starts[0]),
            grads: Some(problem.packed_in(grads, &buffer(bytes), starts[1])),
            copies: copies(starts[2]),
        };
        problem.over(buffers, options.clone())
    };
    let mut places = vec![
        ("copies in ranges", over([0, 0, 0], options)),
        ("copies off the quads", over([0, 0, 4], options)),
        ("copies alone on the quads", over([4, 8, 16], options)),
    ];
    let rule = problem.layout.rule(only_group(&problem.layout)).unwrap();
    if rule.stages().matrix.is_none() {
        places.push(("copies in windows", over([0, 16, 8], tiny)));
    }
    if params == grads {
        let both = buffer(2 * bytes);
        let buffers = Buffers {
            params: problem.packed_in(params, &both, bytes),
            grads: Some(problem.packed_in(grads, &both, 0)),
            copies: copies(8),
        };
        let together = problem.over(buffers, options.clone());
        places.push(("copies beside ranges of one buffer", together));
    }
    places
}
