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

/// Arenas, ranges on and off the quads, both in windows, and ranges of one buffer.
pub fn everywhere(problem: &Problem, options: &Options) -> Vec<(&'static str, Optimizer)> {
    let group = only_group(&problem.layout);
    let Formats { params, grads, .. } = problem.layout.formats(group).unwrap();
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
        places.push(("an arena in windows", problem.in_arena(tiny)));
    }
    if params == grads {
        let both = buffer(2 * bytes);
        let of_params = problem.packed_in(params, &both, 0);
        let end = end_of(&of_params);
        let of_grads = problem.packed_in(grads, &both, end + 4);
        let buffers = Buffers {
            params: of_params,
            grads: Some(of_grads),
        };
        let together = problem.over(buffers, options.clone());
        places.push(("ranges of one buffer", together));
    }
    places
}
