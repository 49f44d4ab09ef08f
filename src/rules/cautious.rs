//! What the rules that can be cautious share. The other half is in `shaders/cautious/`.

use crate::{
    Over, Stages, Sum,
    cpu::{Real, Shape},
};

/// Before a cautious update: counts the elements that agree. `reads` are the slots that the rule's
/// direction looks at.
pub(super) fn stages(cautious: bool, reads: &'static [&'static str]) -> Stages {
    let count = Sum {
        names: &["agreeing"],
        over: Over::Tensor,
        reads,
    };
    Stages {
        sum: cautious.then_some(count),
        ..Stages::default()
    }
}

/// By signs, since a product would underflow.
pub(super) fn agrees<T: Real>(u: T, g: T) -> bool {
    let zero = T::zero();
    ((u > zero) & (g > zero)) | ((u < zero) & (g < zero))
}

/// The update with caution.
pub(super) fn cautious<T: Real>(u: T, g: T, mask_scale: T) -> T {
    mask_scale * if agrees(u, g) { u } else { T::zero() }
}

/// What the updates that agree are multiplied by.
pub(super) fn conclude<T: Real>(sums: [T; 4], tensor: &mut [T], shape: Shape<T>) {
    let [agreeing, ..] = sums;
    tensor[0] = T::one() / (agreeing / shape.count).max(T::from_f64(1e-3));
}

#[cfg(test)]
mod tests {
    use crate::{Layout, Rule, cpu, rules};

    /// A step of `rule` from parameters of 0, and then what the tensor's scale is.
    fn stepped<T: cpu::Real>(
        rule: impl Into<Box<dyn Rule>>,
        state: &[(&str, &[f64])],
        grads: &[f64],
    ) -> (Vec<T>, T) {
        let mut layout = Layout::new();
        let group = layout.group(rule).unwrap();
        let tensor = layout.tensor(group, "w", &[grads.len()]).unwrap();
        // Another tensor of the group, which has no say in this one's mean.
        let other = layout.tensor(group, "other", &[3]).unwrap();
        let mut optimizer = cpu::Optimizer::<T>::new(&layout).unwrap();
        let fill = |to: &mut [T], from: &[f64]| {
            for (to, &from) in to.iter_mut().zip(from) {
                *to = T::from_f64(from);
            }
        };
        fill(optimizer.grad_mut(tensor).unwrap(), grads);
        fill(optimizer.grad_mut(other).unwrap(), &[1.0; 3]);
        for (slot, values) in state {
            fill(optimizer.state_mut(tensor, slot).unwrap(), values);
        }
        // Past the first step, at which momentum is the gradient.
        optimizer.set_step_count(group, 1).unwrap();
        optimizer.step().unwrap();
        let scale = optimizer.state(tensor, "mask_scale").unwrap()[0];
        (optimizer.param(tensor).unwrap().to_vec(), scale)
    }

    fn momentum() -> rules::Sgd {
        rules::Sgd {
            lr: 1.0,
            momentum: 0.5,
            cautious: true,
            ..Default::default()
        }
    }

    #[test]
    fn elements_that_disagree_stay_and_the_others_go_further() {
        // b = 0.5·buffer + g: 3, 0.5 (which disagrees), -3, 1 (no gradient), 0 (no update).
        let buffer: (_, &[f64]) = ("momentum_buffer", &[4.0, 3.0, -4.0, 2.0, 2.0]);
        let grads = [1.0, -1.0, -1.0, 0.0, -1.0];
        let scale = 5.0 / 2.0;
        let expected = vec![-3.0 * scale, 0.0, 3.0 * scale, 0.0, 0.0];
        assert_eq!(
            stepped::<f64>(momentum(), &[buffer], &grads),
            (expected, scale)
        );
    }

    #[test]
    fn an_update_that_agrees_nowhere_moves_nothing() {
        let buffer: (_, &[f64]) = ("momentum_buffer", &[4.0, -4.0]);
        let (params, scale) = stepped::<f64>(momentum(), &[buffer], &[-1.0, 1.0]);
        assert_eq!(params, [0.0, 0.0]);
        assert_eq!(scale, 1000.0);
    }

    #[test]
    fn one_element_that_agrees_moves_as_ever() {
        let (params, scale) = stepped::<f32>(momentum(), &[], &[0.25]);
        assert_eq!((params, scale), (vec![-0.25], 1.0));
    }

    #[test]
    fn few_that_agree_are_scaled_by_a_thousand_at_most() {
        let mut grads = vec![0.0; 4000];
        grads[17] = 1.0;
        let (params, scale) = stepped::<f64>(momentum(), &[], &grads);
        assert_eq!(scale, 1000.0);
        assert_eq!(params[17], -1000.0);
        assert_eq!(params.iter().filter(|p| **p != 0.0).count(), 1);
    }

    #[test]
    fn numbers_whose_product_underflows_agree() {
        let (params, scale) = stepped::<f32>(momentum(), &[], &[1e-30, -1e-30]);
        assert_eq!((params, scale), (vec![-1e-30, 1e-30], 1.0));
    }

    #[test]
    fn the_moments_are_not_masked() {
        let mut layout = Layout::new();
        let group = layout.group(momentum()).unwrap();
        let tensor = layout.tensor(group, "w", &[2]).unwrap();
        let mut optimizer = cpu::Optimizer::<f64>::new(&layout).unwrap();
        optimizer.set_step_count(group, 1).unwrap();
        let buffer = optimizer.state_mut(tensor, "momentum_buffer").unwrap();
        buffer.copy_from_slice(&[4.0, 4.0]);
        let grads = optimizer.grad_mut(tensor).unwrap();
        grads.copy_from_slice(&[1.0, -1.0]);
        optimizer.step().unwrap();
        assert_eq!(
            *optimizer.state(tensor, "momentum_buffer").unwrap(),
            [3.0, 1.0]
        );
        assert_eq!(optimizer.param(tensor).unwrap(), [-6.0, 0.0]);
    }

    /// The gradient that counts is the one with the decay in it; a decay beside the update does not
    /// count and is not masked.
    #[test]
    fn decay_counts_where_it_goes_through_the_gradient() {
        let moved = |mut rule: Box<dyn Rule>| {
            rule.set("lr", "0.5").unwrap();
            rule.set("weight_decay", "1").unwrap();
            rule.set("cautious", "true").unwrap();
            let mut layout = Layout::new();
            let group = layout.group(rule).unwrap();
            let tensor = layout.tensor(group, "w", &[2]).unwrap();
            let mut optimizer = cpu::Optimizer::<f64>::new(&layout).unwrap();
            let params = optimizer.param_mut(tensor).unwrap();
            params.copy_from_slice(&[4.0, 4.0]);
            let grads = optimizer.grad_mut(tensor).unwrap();
            grads.copy_from_slice(&[-1.0, 0.0]);
            optimizer.step().unwrap();
            let scale = optimizer.state(tensor, "mask_scale").unwrap()[0];
            (optimizer.param(tensor).unwrap().to_vec(), scale)
        };
        // g = 3 and 4, and all agree.
        let (params, scale) = moved(rules::by_name("sgd").unwrap());
        assert_eq!((params, scale), (vec![2.5, 2.0], 1.0));
        // g = -1 and 0: half agree. The decay takes 2 of both.
        let (params, scale) = moved(rules::by_name("lion").unwrap());
        assert_eq!((params, scale), (vec![4.0 - 2.0 + 1.0, 2.0], 2.0));
    }

    #[test]
    fn at_a_first_step_that_only_looks_nothing_moves() {
        let rule = rules::Adopt {
            cautious: true,
            ..Default::default()
        };
        let mut layout = Layout::new();
        let group = layout.group(rule).unwrap();
        let tensor = layout.tensor(group, "w", &[2]).unwrap();
        let mut optimizer = cpu::Optimizer::<f64>::new(&layout).unwrap();
        let grads = optimizer.grad_mut(tensor).unwrap();
        grads.copy_from_slice(&[1.0, -2.0]);
        optimizer.step().unwrap();
        assert_eq!(optimizer.param(tensor).unwrap(), [0.0, 0.0]);
        optimizer.step().unwrap();
        let params = optimizer.param(tensor).unwrap();
        assert!(params[0] < 0.0 && params[1] > 0.0);
        assert_eq!(*optimizer.state(tensor, "mask_scale").unwrap(), [1.0]);
    }

    /// By the rule's own plain step: where it moves against the gradient, with the gradient or not
    /// at all, the cautious one moves as far times the scale, or not at all.
    #[test]
    fn every_rule_moves_as_it_would_masked_and_scaled() {
        let mut count = 0;
        for name in rules::names() {
            let mut cautious = rules::by_name(name).unwrap();
            if cautious.set("cautious", "true").is_err() {
                continue;
            }
            count += 1;
            let run = |mut rule: Box<dyn Rule>| {
                if name == "sgd" || name == "rmsprop" {
                    rule.set("momentum", "0.9").unwrap();
                }
                let mut layout = Layout::new();
                let group = layout.group(rule).unwrap();
                let tensor = layout.tensor(group, "w", &[7]).unwrap();
                let mut optimizer = cpu::Optimizer::<f64>::new(&layout).unwrap();
                // Each in steps from the same state: no difference but the last step's.
                let steps: [[f64; 7]; 3] = [
                    [2.0, -2.0, 3.0, -3.0, 1.0, -1.0, 0.5],
                    [1.5, -1.5, 2.0, -2.0, 1.0, 1.0, 0.5],
                    [1.0, -1.0, -0.01, 0.01, 0.0, -0.5, 0.25],
                ];
                for grads in steps {
                    optimizer.param_mut(tensor).unwrap().fill(0.0);
                    optimizer.grad_mut(tensor).unwrap().copy_from_slice(&grads);
                    optimizer.step().unwrap();
                }
                let moved = optimizer.param(tensor).unwrap().to_vec();
                (moved, steps[2])
            };
            let (plain, grads) = run(rules::by_name(name).unwrap());
            let (masked, _) = run(cautious);
            let agrees: Vec<_> = plain.iter().zip(grads).map(|(p, g)| p * g < 0.0).collect();
            let agreeing = agrees.iter().filter(|agrees| **agrees).count();
            assert!((1..7).contains(&agreeing), "{name}: {agreeing}");
            for i in 0..7 {
                let expected = if agrees[i] {
                    plain[i] * 7.0 / agreeing as f64
                } else {
                    0.0
                };
                let error = (masked[i] - expected).abs();
                assert!(error <= 1e-14 * expected.abs(), "{name} at {i}");
            }
        }
        let has_mask = |name: &&str| {
            let slots = rules::by_name(name).unwrap().slots();
            slots.iter().any(|slot| slot.name == "mask_scale")
        };
        assert!(count > 0);
        assert_eq!(count, rules::names().filter(has_mask).count());
    }
}
