//! Where the elements of a workgroup lie in a caller's ranges.

use bytemuck::{Pod, Zeroable};

use super::limits::BLOCK;

/// Neighbouring elements, as the shaders read them. Positions count from the starts of the bindings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Span {
    pub param: u32,
    pub grad: u32,
    pub state: u32,
    pub count: u32,
}

impl Span {
    /// What follows the first `elements`.
    pub fn after(self, elements: u32) -> Self {
        Self {
            param: self.param + elements,
            grad: self.grad + elements,
            state: self.state + elements,
            count: self.count - elements,
        }
    }
}

/// The spans of a grid's workgroups as one, if each begins where the one before it ends and all but the
/// last have a whole [`BLOCK`]. Empty spans at the end fill the grid.
pub(crate) fn as_one(spans: &[Span]) -> Option<Span> {
    let mut all = *spans.first()?;
    for span in spans[1..].iter().filter(|span| span.count > 0) {
        let before = all.count;
        all.count += span.count;
        if !u64::from(before).is_multiple_of(BLOCK) || *span != all.after(before) {
            return None;
        }
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: u32 = BLOCK as u32;

    fn span(first: u32, count: u32) -> Span {
        Span {
            param: 8 + first,
            grad: 4 + first,
            state: first,
            count,
        }
    }

    #[test]
    fn spans_that_follow_one_another_are_one() {
        let spans = [span(0, WHOLE), span(WHOLE, WHOLE), span(2 * WHOLE, 3)];
        assert_eq!(as_one(&spans), Some(span(0, 2 * WHOLE + 3)));
        assert_eq!(as_one(&spans[2..]), Some(spans[2]));
        let filled = [spans[0], spans[1], Span::default()];
        assert_eq!(as_one(&filled), Some(span(0, 2 * WHOLE)));
        assert_eq!(as_one(&[]), None);
    }

    #[test]
    fn a_gap_in_anything_and_a_short_span_between_are_not_one() {
        let first = span(0, WHOLE);
        let next = span(WHOLE, WHOLE);
        for (param, grad, state) in [(4, 0, 0), (0, 4, 0), (0, 0, 64)] {
            let apart = Span {
                param: next.param + param,
                grad: next.grad + grad,
                state: next.state + state,
                ..next
            };
            assert_eq!(as_one(&[first, apart]), None);
        }
        assert_eq!(as_one(&[span(0, 64), span(64, 64)]), None);
    }
}
