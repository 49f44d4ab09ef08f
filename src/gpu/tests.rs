mod destruction;

use super::*;
use crate::{Gpu, GpuOptions, MatrixWork, Rule, Stages, rules};

/// How many dispatches a step records for one group of `tensors` small tensors.
fn dispatches(
    device: &wgpu::Device,
    rule: Box<dyn Rule>,
    tensors: usize,
    shape: &[usize],
) -> usize {
    let mut layout = Layout::new();
    let group = layout.group(rule).unwrap();
    for index in 0..tensors {
        layout.tensor(group, &index.to_string(), shape).unwrap();
    }
    let optimizer = Optimizer::new(device, &layout, Options::default()).unwrap();
    optimizer.planned.unwrap().dispatches().count()
}

/// How many dispatches a step begins with, and the README's table gives for the stages of `rule`.
fn expected(rule: &dyn Rule) -> usize {
    let Stages { lines, sum, matrix } = rule.stages();
    let of_matrix = matrix.map_or(0, |stage| match stage.work {
        // The matrices of these tests are small.
        MatrixWork::Orthogonalize { .. } => 2,
        MatrixWork::Solve { .. } => 3,
    });
    2 + 3 * usize::from(lines.is_some()) + 2 * usize::from(sum.is_some()) + of_matrix
}

#[test]
fn ten_thousand_tensors_cost_no_more_dispatches_than_ten() {
    let Gpu { device, .. } = Gpu::open_blocking(&GpuOptions::default()).unwrap();
    for name in rules::names() {
        // Of 20 tensors the arena is two workgroups.
        for tensors in [20, 10_000] {
            let rule = rules::by_name(name).unwrap();
            let expected = expected(&*rule);
            assert_eq!(
                dispatches(&device, rule, tensors, &[3, 4]),
                expected,
                "{name}"
            );
        }
    }
    let mut cautious = rules::by_name("adamw").unwrap();
    cautious.set("cautious", "true").unwrap();
    assert_eq!(dispatches(&device, cautious, 10, &[3, 4]), 4);
    // By tiles it is the same, but for vectors: they are measured where their state is updated.
    for (shape, expected) in [(&[2, 64][..], 7), (&[12], 5), (&[64], 4)] {
        let adafactor = rules::by_name("adafactor").unwrap();
        assert_eq!(dispatches(&device, adafactor, 10, shape), expected);
    }
}

#[test]
fn a_step_of_one_workgroup_is_one_dispatch_where_its_bindings_fit() {
    let Gpu { adapter, .. } = Gpu::open_blocking(&GpuOptions::default()).unwrap();
    // Of WebGPU's limits.
    let (device, _) = pollster::block_on(adapter.request_device(&Default::default())).unwrap();
    let mut fitting = 0;
    for name in rules::names() {
        let rule = rules::by_name(name).unwrap();
        let slots = rule.element_slots().iter().filter(|slot| slot.used).count();
        // Parameters, gradients and what begins a step are six bindings.
        let fits = rule.stages() == Stages::default() && slots <= 2;
        let expected = match fits {
            true => 1,
            false => expected(&*rule),
        };
        assert_eq!(dispatches(&device, rule, 10, &[3, 4]), expected, "{name}");
        fitting += usize::from(fits);
    }
    assert!(fitting > 15, "{fitting}");
}
