//! What a rule's twin asks for, learnt from a run over no elements.

use std::cell::Cell;

use super::{Block, Bound, Part, Real, Shape, Step};
use crate::Rule;

/// What a twin asks its rule for by position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Constants,
    Members,
    OfTensor,
}

impl Asked {
    const ALL: [Self; 3] = [Self::Constants, Self::Members, Self::OfTensor];

    /// What a reader calls it, and the names that the rule declares.
    fn declared(self, rule: &dyn Rule) -> (&'static str, Vec<&'static str>) {
        match self {
            Self::Constants => {
                let constants = rule.constants().into_iter();
                ("constants", constants.map(|(name, _)| name).collect())
            }
            Self::Members => ("slots of Element", rule.state_members()),
            Self::OfTensor => {
                let slots = rule.tensor_slots().into_iter();
                ("slots of Tensor", slots.map(|slot| slot.name).collect())
            }
        }
    }
}

thread_local! {
    /// The most that a twin asked for where its rule has fewer. The functions of a twin have no
    /// other way to tell.
    static MISSED: Cell<[usize; 3]> = const { Cell::new([0; 3]) };
}

/// Notes that a twin asked for `count` of something that its rule has fewer of.
#[cold]
pub(super) fn missed(what: Asked, count: usize) {
    let mut missed = MISSED.get();
    missed[what as usize] = missed[what as usize].max(count);
    MISSED.set(missed);
}

/// What the twin of `rule` asks for beyond what the rule declares.
pub(super) fn problem(rule: &dyn Rule) -> Option<String> {
    MISSED.take();
    run::<f32>(rule);
    run::<f64>(rule);
    let missed = MISSED.take().into_iter().zip(Asked::ALL);
    let (asked, what) = missed.into_iter().find(|(asked, _)| *asked > 0)?;
    let (what, declared) = what.declared(rule);
    let (count, names) = (declared.len(), declared.join(", "));
    Some(format!(
        "its twin takes {asked} {what}; expected at most the {count} declared ({names})"
    ))
}

/// Calls each function of the twin that takes a block.
fn run<T: Real>(rule: &dyn Rule) {
    let twin = T::twin(rule);
    let stages = rule.stages();
    let now = Step::default().rounded();
    let members = rule.state_members().len();
    let values = vec![T::zero(); rule.tensor_slots().len()];
    let block = || Block {
        params: &mut [],
        grads: &[],
        state: (0..members).map(|_| Part::Plain(&mut [])).collect(),
        of_tensor: &values,
        grad_scale: T::one(),
        bound: Bound::none(),
    };
    twin.update(block(), now);
    if stages.sum.is_some() {
        twin.measure(block(), now);
        let one = T::one();
        let shape = Shape {
            count: one,
            rows: one,
            columns: one,
        };
        twin.conclude([one; 4], &mut values.clone(), shape, now);
    }
    if stages.matrix.is_some() {
        twin.prepare(block(), now);
    }
    if stages.lines.is_some() {
        twin.line(T::one());
        twin.move_line(T::one(), T::one(), now);
        twin.row_factor(T::one(), T::one());
    }
    if rule.evaluates_elsewhere() {
        twin.evaluate(block());
        twin.train(block());
    }
}
