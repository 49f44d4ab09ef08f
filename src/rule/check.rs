//! Checks what a rule declares, so that no other code has to.

use super::trial;
use crate::{Error, Extent, MatrixWork, Rule, Slot, Stages, hyperparameter::Interval};

/// Whether a WGSL text, comments aside, declares bindings.
fn binds(text: &str) -> bool {
    let mut rest = text;
    loop {
        let marks = ["//", "/*", "@"].map(|mark| (rest.find(mark), mark));
        let found = marks.into_iter().filter_map(|(at, mark)| Some((at?, mark)));
        let Some((at, mark)) = found.min() else {
            return false;
        };
        let after = &rest[at + mark.len()..];
        let end = match mark {
            "//" => after.find('\n'),
            "/*" => after.find("*/"),
            _ => {
                let attribute = after.trim_start();
                if attribute.starts_with("group") || attribute.starts_with("binding") {
                    return true;
                }
                Some(0)
            }
        };
        let Some(end) = end else { return false };
        rest = &after[end..];
    }
}

/// Checks that the slots and stages of `rule` fit together.
pub(crate) fn check_stages(rule: &dyn Rule) -> Result<(), Error> {
    let refuse = |problem: String| {
        Err(Error::Rule {
            rule: rule.name().to_owned(),
            problem,
        })
    };
    if binds(rule.wgsl()) {
        return refuse(
            "its WGSL has @group or @binding; expected functions alone, since all bindings are this \
             crate's"
                .to_owned(),
        );
    }
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
                "a stage names {name:?}; expected a slot of {extent:?} that is in use"
            ));
        }
    }
    if let Some(lines) = lines.filter(|lines| lines.row == lines.factor) {
        return refuse(format!(
            "its lines keep rows and factors in one slot, {:?}; expected two slots",
            lines.row
        ));
    }
    if rule.evaluates_elsewhere() && (lines.is_some() || matrix.is_some()) {
        return refuse(
            "it evaluates elsewhere and has lines or matrices; expected only one of these"
                .to_owned(),
        );
    }
    for slot in &slots {
        let starts = matches!(
            slot.extent,
            Extent::Element | Extent::Tensor | Extent::Group
        );
        if slot.start != 0.0 && !starts {
            let Slot {
                name,
                extent,
                start,
                ..
            } = *slot;
            return refuse(format!(
                "the slot {name:?} of {extent:?} starts at {start}; expected 0"
            ));
        }
        let is_known = match slot.extent {
            Extent::Element | Extent::Tensor | Extent::Group => true,
            _ => expected.contains(&(slot.name, slot.extent)),
        };
        if !is_known {
            return refuse(format!(
                "no stage names the slot {:?} of {:?}; expected one that does",
                slot.name, slot.extent
            ));
        }
    }
    if let Some(sum) = sum {
        if !(1..=4).contains(&sum.names.len()) {
            let count = sum.names.len();
            return refuse(format!("it takes {count} sums; expected 1 to 4"));
        }
        if !rule.tensor_slots().iter().any(|slot| slot.used) {
            return refuse(
                "it takes sums; expected a slot of Tensor, in use, for what it concludes"
                    .to_owned(),
            );
        }
    }
    let of_sum = sum.map_or(&[][..], |sum| sum.reads);
    let of_matrix = matrix.map_or(&[][..], |stage| stage.reads);
    for name in of_sum.iter().chain(of_matrix) {
        if !slots.iter().any(|slot| slot.name == *name) {
            return refuse(format!(
                "a stage reads {name:?}; expected the name of a slot"
            ));
        }
    }
    trial::problem(rule).map_or(Ok(()), refuse)
}

/// The position of the slot `name` among `slots`, the element slots kept for `rule`. It must be in
/// use.
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

/// Checks a learning rate, and that its product with the weight decay is a finite f32.
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
    // An f64 holds such a count exactly, and more steps than anyone will take.
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

    /// A rule with any slots and stages.
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
        let no_tensor_slot =
            "it takes sums; expected a slot of Tensor, in use, for what it concludes";
        let one_slot = Stages {
            lines: lines.lines.map(|lines| Lines {
                factor: "r",
                ..lines
            }),
            ..lines
        };
        let cases = [
            (vec![m], sum(&["a"], &[]), no_tensor_slot),
            (vec![t.used_if(false)], sum(&["a"], &[]), no_tensor_slot),
            (vec![t], sum(&[], &[]), "it takes 0 sums; expected 1 to 4"),
            (
                vec![t],
                sum(&["a", "b", "c", "d", "e"], &[]),
                "it takes 5 sums; expected 1 to 4",
            ),
            (
                vec![t],
                sum(&["a"], &["m"]),
                "a stage reads \"m\"; expected the name of a slot",
            ),
            (
                vec![m],
                matrix("x", orthogonalize, &[]),
                "a stage names \"x\"; expected a slot of Element that is in use",
            ),
            (
                vec![t],
                matrix("t", orthogonalize, &[]),
                "a stage names \"t\"; expected a slot of Element that is in use",
            ),
            (
                vec![m],
                matrix("m", orthogonalize, &["y"]),
                "a stage reads \"y\"; expected the name of a slot",
            ),
            (
                vec![m],
                matrix("m", solve, &[]),
                "a stage names \"h\"; expected a slot of Pair that is in use",
            ),
            (
                vec![h],
                Stages::default(),
                "no stage names the slot \"h\" of Pair; expected one that does",
            ),
            (
                vec![of_lines[1]],
                Stages::default(),
                "no stage names the slot \"r\" of Row; expected one that does",
            ),
            (
                of_lines[2..].to_vec(),
                lines,
                "a stage names \"r\"; expected a slot of Row that is in use",
            ),
            (
                of_lines.to_vec(),
                lines,
                "no stage names the slot \"m\" of Row; expected one that does",
            ),
            (
                of_lines[1..].to_vec(),
                one_slot,
                "its lines keep rows and factors in one slot, \"r\"; expected two slots",
            ),
            (
                vec![m, h.starting_at(0.5)],
                matrix("m", solve, &[]),
                "the slot \"h\" of Pair starts at 0.5; expected 0",
            ),
        ];
        for (slots, stages, problem) in cases {
            let error = Layout::new().group(Odd { slots, stages }).unwrap_err();
            assert!(matches!(error, Error::Rule { .. }), "{error}");
            let expected = format!("rule odd contradicts itself: {problem}");
            assert_eq!(error.to_string(), expected);
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

    #[test]
    fn bindings_are_found_and_comments_are_not() {
        for text in [
            "@group(1) @binding(0) var<uniform> x: f32;",
            "// a\n@ group(0)",
            "/* */ @binding(3)",
        ] {
            assert!(binds(text), "{text}");
        }
        for text in [
            "",
            "fn f() {}",
            "// @group(0)\nfn f() {}",
            "/* @binding(1) */",
            "@const fn f() {} // @group",
            "/* @group",
        ] {
            assert!(!binds(text), "{text}");
        }
    }
}
