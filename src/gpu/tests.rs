mod destruction;

use super::*;
use crate::{Gpu, GpuOptions, MatrixWork, Rule, Stages, rules};

/// How many dispatches a step records for one group of `tensors` small tensors.
fn dispatches(gpu: &Gpu, rule: Box<dyn Rule>, tensors: usize, shape: &[usize]) -> usize {
    let mut layout = Layout::new();
    let group = layout.group(rule).unwrap();
    for index in 0..tensors {
        layout.tensor(group, &index.to_string(), shape).unwrap();
    }
    let optimizer = Optimizer::new(&gpu.device, &layout, Options::default()).unwrap();
    let mut planned = optimizer.planned.unwrap();
    let groups = planned.groups.iter_mut();
    groups.flat_map(|group| group.conditional()).count()
}

/// How many dispatches the README's table gives for the stages of `rule`.
fn expected(rule: &dyn Rule) -> usize {
    let Stages { lines, sum, matrix } = rule.stages();
    let of_matrix = matrix.map_or(0, |stage| match stage.work {
        // The matrices of these tests are small.
        MatrixWork::Orthogonalize { .. } => 2,
        MatrixWork::Solve { .. } => 3,
    });
    1 + 3 * usize::from(lines.is_some()) + 2 * usize::from(sum.is_some()) + of_matrix
}

#[test]
fn ten_thousand_tensors_cost_no_more_dispatches_than_ten() {
    let gpu = Gpu::open_blocking(&GpuOptions::default()).unwrap();
    for name in rules::names() {
        for tensors in [10, 10_000] {
            let rule = rules::by_name(name).unwrap();
            let expected = expected(&*rule);
            assert_eq!(dispatches(&gpu, rule, tensors, &[3, 4]), expected, "{name}");
        }
    }
    let mut cautious = rules::by_name("adamw").unwrap();
    cautious.set("cautious", "true").unwrap();
    assert_eq!(dispatches(&gpu, cautious, 10, &[3, 4]), 3);
    let adafactor = rules::by_name("adafactor").unwrap();
    assert_eq!(dispatches(&gpu, adafactor, 10, &[12]), 4);
}
