//! Checks of what a rule says, which no other code has to make again.

use crate::{Error, Extent, MatrixWork, Rule, Slot, Stages, hyperparameter::Interval};

/// Checks that what `rule` says of its slots and stages fits together: no other code has to.
pub(crate) fn check_stages(rule: &dyn Rule) -> Result<(), Error> {
    let refuse = |problem: String| {
        Err(Error::Rule {
            rule: rule.name().to_owned(),
            problem,
        })
    };
    let slots = rule.slots();
    let used = |name: &str| {
        let mut slots = slots.iter().filter(|slot| slot.used);
        slots.find(|slot| slot.name == name)
    };
    let Stages { lines, sum, matrix } = rule.stages();
    let solve = matrix.and_then(|stage| match stage.work {
        MatrixWork::Solve { hessian, .. } => Some(hessian),
        MatrixWork::Orthogonalize { .. } => None,
    });
    let mut expected = Vec::new();
    if let Some(lines) = lines {
        expected.extend([
            (lines.row, Extent::Row),
            (lines.column, Extent::Column),
            (lines.vector, Extent::Vector),
            (lines.factor, Extent::Row),
        ]);
    }
    expected.extend(matrix.map(|stage| (stage.slot, Extent::Element)));
    expected.extend(solve.map(|hessian| (hessian, Extent::Pair)));
    for (name, extent) in &expected {
        if used(name).is_none_or(|slot| slot.extent != *extent) {
            return refuse(format!(
                "a stage names {name:?}, which is no slot of {extent:?} in use"
            ));
        }
    }
    if lines.is_some_and(|lines| lines.row == lines.factor) {
        return refuse("one slot for rows and for their factors".to_owned());
    }
    if rule.evaluates_elsewhere() && (lines.is_some() || matrix.is_some()) {
        return refuse(
            "other parameters to evaluate with, which lines and matrices exclude".to_owned(),
        );
    }
    for slot in &slots {
        let starts = matches!(
            slot.extent,
            Extent::Element | Extent::Tensor | Extent::Group
        );
        if slot.start != 0.0 && !starts {
            let (name, extent) = (slot.name, slot.extent);
            return refuse(format!(
                "a start for {name:?}; one of {extent:?} starts at zero"
            ));
        }
        let is_known = match slot.extent {
            Extent::Element | Extent::Tensor | Extent::Group => true,
            _ => expected.contains(&(slot.name, slot.extent)),
        };
        if !is_known {
            return refuse(format!(
                "no stage is about the slot {:?} of {:?}",
                slot.name, slot.extent
            ));
        }
    }
    if let Some(sum) = sum {
        if !(1..=4).contains(&sum.names.len()) {
            return refuse(format!("{} sums; expected 1 to 4", sum.names.len()));
        }
        if !rule.tensor_slots().iter().any(|slot| slot.used) {
            return refuse("a sum, but no slot of tensors to keep what follows from it".to_owned());
        }
    }
    let of_sum = sum.map_or(&[][..], |sum| sum.reads);
    let of_matrix = matrix.map_or(&[][..], |stage| stage.reads);
    for name in of_sum.iter().chain(of_matrix) {
        if !slots.iter().any(|slot| slot.name == *name) {
            return refuse(format!("a stage reads {name:?}, which is no slot"));
        }
    }
    Ok(())
}

/// The position of a slot in use by its name, among `slots` of elements, which are kept for `rule`.
pub(crate) fn position_of(rule: &dyn Rule, slots: &[Slot], name: &str) -> Result<usize, Error> {
    let position = slots.iter().position(|slot| slot.used && slot.name == name);
    position.ok_or_else(|| {
        let others = rule.slots().into_iter();
        let others = others.filter(|slot| !matches!(slot.extent, Extent::Element | Extent::Group));
        let known = slots.iter().copied().chain(others);
        let known = known.filter(|slot| slot.used).map(|slot| slot.name);
        Error::unknown_state(rule, name, known)
    })
}

/// Checks a learning rate, and that its product with the decay is one too.
pub(crate) fn check_lr(rule: &dyn Rule, lr: f64) -> Result<(), Error> {
    let refused = |value: String, allowed: String| {
        Err(Error::Hyperparameter {
            rule: rule.name().to_owned(),
            name: "lr".to_owned(),
            value,
            allowed,
        })
    };
    if !Interval::NON_NEGATIVE.contains(lr) {
        return refused(lr.to_string(), Interval::NON_NEGATIVE.to_string());
    }
    let weight_decay = rule.decoupled_weight_decay();
    if !Interval::NON_NEGATIVE.contains(lr * weight_decay) {
        let allowed = format!("lr times weight_decay = {weight_decay} to be a finite f32");
        return refused(lr.to_string(), allowed);
    }
    Ok(())
}

/// Checks a step count to continue from.
pub(crate) fn check_step_count(count: u64) -> Result<(), Error> {
    // Exact as an f64, with room for more steps than anyone will take.
    let most = 1 << 52;
    if count <= most {
        return Ok(());
    }
    Err(Error::StepCount { count, most })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Declaration, Layout, Lines, MatrixStage, Over, Sum,
        cpu::{Block, Real, Step, Twin},
    };

    /// A rule of these slots and stages, whatever they are.
    #[derive(Debug)]
    struct Odd {
        slots: Vec<Slot>,
        stages: Stages,
    }

    impl Rule for Odd {}

    impl Declaration for Odd {
        fn name(&self) -> &str {
            "odd"
        }
        fn lr(&self) -> f64 {
            1.0
        }
        fn slots(&self) -> Vec<Slot> {
            self.slots.clone()
        }
        fn stages(&self) -> Stages {
            self.stages
        }
        fn wgsl(&self) -> &str {
            ""
        }
    }

    impl<T: Real> Twin<T> for Odd {
        fn update(&self, _: Block<'_, T>, _: Step<T>) {}
    }

    #[test]
    fn stages_and_slots_that_do_not_fit_together_are_refused() {
        let sum = |names, reads| {
            Stages::sum(Sum {
                names,
                over: Over::Tensor,
                reads,
            })
        };
        let matrix = |slot, work, reads| Stages {
            matrix: Some(MatrixStage { slot, work, reads }),
            ..Stages::default()
        };
        let orthogonalize = MatrixWork::Orthogonalize {
            steps: 5,
            coefficients: [1.0; 3],
        };
        let solve = MatrixWork::Solve {
            hessian: "h",
            damping: 0.0,
        };
        let lines = Stages {
            lines: Some(Lines {
                row: "r",
                column: "c",
                vector: "v",
                factor: "f",
            }),
            ..Stages::default()
        };
        let (m, t) = (Slot::element("m"), Slot::tensor("t"));
        let h = Slot::input("h").of(Extent::Pair);
        let of_lines = [
            m.of(Extent::Row),
            Slot::element("r").of(Extent::Row),
            Slot::element("c").of(Extent::Column),
            Slot::element("v").of(Extent::Vector),
            Slot::element("f").of(Extent::Row),
        ];
        let cases = [
            (vec![m], sum(&["a"], &[]), "no slot of tensors"),
            (
                vec![t.used_if(false)],
                sum(&["a"], &[]),
                "no slot of tensors",
            ),
            (vec![t], sum(&[], &[]), "0 sums"),
            (vec![t], sum(&["a", "b", "c", "d", "e"], &[]), "5 sums"),
            (vec![t], sum(&["a"], &["m"]), "reads \"m\""),
            (vec![m], matrix("x", orthogonalize, &[]), "names \"x\""),
            (vec![t], matrix("t", orthogonalize, &[]), "names \"t\""),
            (vec![m], matrix("m", orthogonalize, &["y"]), "reads \"y\""),
            (vec![m], matrix("m", solve, &[]), "names \"h\""),
            (
                vec![h],
                Stages::default(),
                "no stage is about the slot \"h\"",
            ),
            (vec![of_lines[1]], Stages::default(), "slot \"r\" of Row"),
            (of_lines[2..].to_vec(), lines, "names \"r\""),
            (of_lines.to_vec(), lines, "slot \"m\" of Row"),
        ];
        for (slots, stages, expected) in cases {
            let error = Layout::new().group(Odd { slots, stages }).unwrap_err();
            assert!(matches!(error, Error::Rule { .. }), "{error}");
            assert!(error.to_string().contains(expected), "{error}: {expected}");
        }
        for (slots, stages) in [
            (vec![m, t], sum(&["a"], &["m", "t"])),
            (vec![m], matrix("m", orthogonalize, &["m"])),
            (vec![m, h], matrix("m", solve, &["m"])),
            (of_lines[1..].to_vec(), lines),
        ] {
            Layout::new().group(Odd { slots, stages }).unwrap();
        }
    }
}
