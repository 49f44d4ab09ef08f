//! What an optimizer is: the trait that each rule, ours or a user's, implements.

use std::fmt;

use crate::{
    Error,
    cpu::Twin,
    hyperparameter::{Hyperparameter, Interval},
    shape::Matrices,
};

/// An optimizer's update rule as plain data: hyperparameters, state slots, the WGSL text of its
/// update and, through [`Twin`], the same update on the CPU.
///
/// The WGSL text declares `struct Hyper` (f32 members: [`constants`](Self::constants) in order),
/// `struct State` (one `vec4<f32>` member per [slot](Self::slots) of elements, by its name) and
///
/// ```wgsl
/// fn update(p: vec4<f32>, g: vec4<f32>, s: ptr<function, State>, h: Hyper, now: Step) -> vec4<f32>
/// ```
///
/// which gets four parameters and their gradients, changes the state and returns the new
/// parameters. `Step` is in `shaders/now.wgsl` ([its twin](crate::cpu::Step)), and the
/// [`flags`](Self::flags) are `const NAME: bool`. The example `custom_rule` has two rules of a
/// user's.
///
/// A rule that looks at whole tensors first says so by its [`stages`](Self::stages), keeps what it
/// found in slots of [`Extent::Tensor`], declares these as `struct OfTensor` (f32 members) and gets
/// them as one more argument of `update`, `tensor: OfTensor`.
///
/// WGSL knows no empty struct: where there is no constant or no slot, declare one member of any name.
///
/// All-zero parameters and gradients, as in padding, must stay finite and leave the parameter zero.
pub trait Rule: Twin<f32> + Twin<f64> + fmt::Debug {
    /// The name under which users and files know the rule.
    fn name(&self) -> &str;

    /// Every field that a user may set, with its range.
    fn hyperparameters(&mut self) -> Vec<Hyperparameter<'_>>;

    /// Checks what no single range can say: fields that must go with one another.
    fn check_combination(&self) -> Result<(), Error> {
        Ok(())
    }

    /// The learning rate that a group starts with.
    fn lr(&self) -> f64;

    /// The weight decay that acts on the parameter beside the update; `Step::decay` is lr times it.
    fn decoupled_weight_decay(&self) -> f64 {
        0.0
    }

    /// Whether to climb: the gradient's sign is turned before `update` sees it.
    fn maximize(&self) -> bool {
        false
    }

    /// All that is kept beside the parameters, and the inputs beyond the gradient, whether the
    /// flags use them or not.
    fn slots(&self) -> Vec<Slot>;

    /// What a step does before its update.
    fn stages(&self) -> Stages {
        Stages::default()
    }

    /// The members of the WGSL `Hyper`, in its order, computed in f64.
    fn constants(&self) -> Vec<f64>;

    /// The WGSL `const`s that choose a variant.
    fn flags(&self) -> Vec<(&'static str, bool)> {
        Vec::new()
    }

    /// The coefficients of performed step `t` (from 1): whatever depends on the step count alone,
    /// such as bias corrections, in f64. They reach the update as `now.at`.
    fn at(&self, _t: u64) -> [f64; 4] {
        [0.0; 4]
    }

    /// [`at`](Self::at) of a rule whose coefficients depend on the learning rates so far too:
    /// `lr` is this step's, `history` the [slots of the group](Extent::Group) in their order, which
    /// this brings up to date. Called once for each step, in turn.
    fn advance(&self, t: u64, _lr: f64, _history: &mut [f64]) -> [f64; 4] {
        self.at(t)
    }

    /// Whether evaluation wants other parameters than training does. The WGSL text then declares
    /// these two as well, and the twin has both: what [`evaluate`](crate::Optimizer::evaluate) and
    /// [`train`](crate::Optimizer::train) make of the parameters.
    ///
    /// ```wgsl
    /// fn evaluated(p: vec4<f32>, s: State, h: Hyper) -> vec4<f32>
    /// fn trained(p: vec4<f32>, s: State, h: Hyper) -> vec4<f32>
    /// ```
    fn evaluates_elsewhere(&self) -> bool {
        false
    }

    /// The WGSL text.
    fn wgsl(&self) -> &str;

    /// Sets one hyperparameter from text, as a command line or a file gives it.
    ///
    /// ```
    /// use wgpu_optim::{Rule, rules::AdamW};
    ///
    /// let mut rule = AdamW::default();
    /// rule.set("beta1", "0.95")?;
    /// assert_eq!(rule.beta1, 0.95);
    /// assert_eq!(
    ///     rule.set("beta1", "1.5").unwrap_err().to_string(),
    ///     "adamw: beta1 = 1.5 is not allowed; expected a number in [0, 1)"
    /// );
    /// # Ok::<(), wgpu_optim::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::UnknownHyperparameter`], or [`Error::Hyperparameter`] for a value out of range.
    fn set(&mut self, name: &str, value: &str) -> Result<(), Error> {
        let rule = self.name().to_owned();
        let mut fields = self.hyperparameters();
        let known = || {
            fields
                .iter()
                .map(|field| field.name)
                .collect::<Vec<_>>()
                .join(", ")
        };
        let Some(position) = fields.iter().position(|field| field.name == name) else {
            return Err(Error::UnknownHyperparameter {
                known: known(),
                rule,
                name: name.to_owned(),
            });
        };
        fields[position].set(&rule, value)
    }

    /// Checks every field; [`Layout::group`](crate::Layout::group) calls it.
    fn validate(&mut self) -> Result<(), Error> {
        let rule = self.name().to_owned();
        for field in self.hyperparameters() {
            field.check(&rule)?;
        }
        self.check_combination()
    }
}

impl dyn Rule + '_ {
    /// The slots that there is one of per element.
    pub(crate) fn element_slots(&self) -> Vec<Slot> {
        self.slots_of(Extent::Element)
    }

    /// The slots that there is one of per tensor.
    pub(crate) fn tensor_slots(&self) -> Vec<Slot> {
        self.slots_of(Extent::Tensor)
    }

    /// The slot with one value per pair of elements.
    pub(crate) fn pair_slot(&self) -> Option<Slot> {
        self.slots_of(Extent::Pair).into_iter().next()
    }

    /// Why a tensor of `shape` is not for this rule.
    pub(crate) fn refuses(&self, shape: &[usize]) -> Option<&'static str> {
        match self.stages().matrix?.work {
            MatrixWork::Orthogonalize { .. } if shape.len() != 2 => Some(
                "its rule is for matrices, of two dimensions; put other tensors into a group of \
                 another rule, such as AdamW",
            ),
            MatrixWork::Solve { .. } if shape.iter().product::<usize>() > MOST_UNKNOWNS => {
                Some("its rule solves for at most 256 unknowns")
            }
            _ => None,
        }
    }

    fn slots_of(&self, extent: Extent) -> Vec<Slot> {
        let mut slots = self.slots();
        slots.retain(|slot| slot.extent == extent);
        slots
    }

    /// The members of the WGSL `State`: its slots of elements, and those of lines that an update
    /// looks at.
    #[cfg(test)]
    pub(crate) fn state_members(&self) -> Vec<&'static str> {
        let elements = self.element_slots().into_iter().map(|slot| slot.name);
        let lines = self.stages().lines.into_iter();
        elements
            .chain(lines.flat_map(|lines| [lines.factor, lines.column]))
            .collect()
    }
}

/// What a step does before its update, in the order of the fields. Each has functions of its own in
/// the WGSL text and in the twin.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Stages {
    /// Means over the rows and the columns of matrices.
    pub lines: Option<Lines>,
    /// Sums over whole tensors.
    pub sum: Option<Sum>,
    /// Something made of whole matrices.
    pub matrix: Option<MatrixStage>,
}

impl Stages {
    /// Nothing but sums.
    pub const fn sum(sum: Sum) -> Self {
        Self {
            lines: None,
            sum: Some(sum),
            matrix: None,
        }
    }
}

/// Something made of whole matrices. The WGSL text declares what fills them from the gradient, by
/// changing the state, and the twin has it too; a rule with slots of tensors gets these as well.
///
/// ```wgsl
/// fn prepare(p: vec4<f32>, g: vec4<f32>, s: ptr<function, State>, h: Hyper, now: Step)
/// ```
///
/// The update then leaves the state as it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MatrixStage {
    /// The slot of elements that is filled and replaced.
    pub slot: &'static str,
    /// What becomes of it.
    pub work: MatrixWork,
    /// The slots, of elements or tensors, that the update looks at; it sees others as zero.
    pub reads: &'static [&'static str],
}

/// What is made of matrices.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum MatrixWork {
    /// Newton–Schulz steps towards the nearest orthogonal matrix, `A = XXᵀ; X ← aX + (bA + cA²)X`,
    /// transposed where there are more rows than columns. Tensors have two dimensions and a norm of at
    /// most 1.
    Orthogonalize {
        /// How many of them.
        steps: u32,
        /// a, b and c.
        coefficients: [f64; 3],
    },
    /// The solution d of `(H + λI)d = g` by Cholesky, where the slot holds g: of a tensor's elements,
    /// at most [`MOST_UNKNOWNS`]. Where the factorisation fails, λ becomes `max(10λ, 1e-8)` and it is
    /// tried again. [`GroupStats`](crate::GroupStats) has the λ used.
    Solve {
        /// The slot of [`Extent::Pair`] with H, of which the lower triangle is read.
        hessian: &'static str,
        /// The first λ.
        damping: f64,
    },
}

/// How many elements a tensor may have of which a rule solves a system.
pub const MOST_UNKNOWNS: usize = 256;

/// Means over the rows and the columns of matrices: the last two dimensions of a tensor, which has
/// as many matrices as its other dimensions count. What is kept for a whole matrix takes as much
/// memory as its edges. Each field is the name of a slot. The WGSL text declares these, and the twin
/// has them too:
///
/// ```wgsl
/// fn line(g: f32, h: Hyper) -> f32
/// fn move_line(kept: f32, mean: f32, h: Hyper, now: Step) -> f32
/// fn row_factor(row: f32, mean: f32, h: Hyper) -> f32
/// ```
///
/// The mean of `line` over a row or column moves what is kept of it; `row_factor` is then made of
/// each row and the mean of all rows of its matrix. Other functions see [`factor`](Self::factor) and
/// [`column`](Self::column) in their `State`, those of the row and column that each element is in.
///
/// In the twin they come after the slots of elements: factor, then column.
///
/// A tensor with fewer than two dimensions is a single row: `column` is its
/// [`vector`](Self::vector), `factor` is 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lines {
    /// Of [`Extent::Row`].
    pub row: &'static str,
    /// Of [`Extent::Column`].
    pub column: &'static str,
    /// Of [`Extent::Vector`].
    pub vector: &'static str,
    /// Of [`Extent::Row`]; scratch.
    pub factor: &'static str,
}

/// What is kept of a tensor's rows and columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LinePart {
    Rows,
    Factors,
    /// Or the elements of a tensor without rows.
    Columns,
}

impl Lines {
    /// The part that the slot `name` is of a tensor that has rows, or has none.
    pub(crate) fn part(&self, name: &str, has_rows: bool) -> Option<LinePart> {
        match has_rows {
            true if name == self.row => Some(LinePart::Rows),
            true if name == self.factor => Some(LinePart::Factors),
            true if name == self.column => Some(LinePart::Columns),
            false if name == self.vector => Some(LinePart::Columns),
            _ => None,
        }
    }
}

/// Up to four sums over the elements of tensors. The WGSL text declares these two, and the twin has
/// both. What overflows counts as 3.4e38.
///
/// ```wgsl
/// fn measure(p: vec4<f32>, g: vec4<f32>, s: State, h: Hyper, now: Step, tensor: OfTensor) -> Sums
/// fn conclude(sums: Totals, tensor: ptr<function, OfTensor>, shape: Shape, h: Hyper, now: Step)
/// ```
///
/// `Sums` has a `vec4<f32>` for each [name](Self::names) and `Totals` an f32; `Shape` is in
/// `shaders/tensors/shape.wgsl`. Four elements of padding, all zero, must measure zero. A sum is
/// one of f32, so squares of numbers beyond about 1e18, or below 1e-18, do not count rightly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sum {
    /// What is summed, as in `sums.p_squared`.
    pub names: &'static [&'static str],
    /// Which elements are summed together.
    pub over: Over,
    /// The slots, of elements or tensors, that `measure` looks at; it sees others as zero.
    pub reads: &'static [&'static str],
}

/// Which elements are summed together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// Those of each tensor.
    Tensor,
    /// Those of all tensors of all groups that have a rule of this name and are not frozen. A group
    /// concludes once, from the values and the shape of its first tensor, and all its tensors get the
    /// same.
    Everything,
}

impl<R: Rule + 'static> From<R> for Box<dyn Rule> {
    fn from(rule: R) -> Self {
        Box::new(rule)
    }
}

/// Numbers that a rule keeps or is given beside the gradient, and what there is one of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Slot {
    /// PyTorch's name for it, where PyTorch has the rule.
    pub name: &'static str,
    /// What there is one of.
    pub extent: Extent,
    /// Its value before the first step.
    pub start: f64,
    /// Whether the rule's flags make use of it; otherwise it takes no memory and reads as zero.
    pub used: bool,
    /// Whether the caller fills it: the update reads it and leaves it as it is. See
    /// [`Optimizer::refresh`](crate::Optimizer::refresh).
    pub input: bool,
    /// Whether it passes from one of the [`Stages`] of a step to the next, and means nothing after it.
    pub scratch: bool,
}

impl Slot {
    /// A slot per element that starts at zero.
    pub const fn element(name: &'static str) -> Self {
        Self {
            name,
            extent: Extent::Element,
            start: 0.0,
            used: true,
            input: false,
            scratch: false,
        }
    }

    /// An input per element beside the gradient, such as a curvature; zero until the caller fills
    /// it.
    pub const fn input(name: &'static str) -> Self {
        Self {
            input: true,
            ..Self::element(name)
        }
    }

    /// One number for the whole parameter group, kept by the host in f64; see [`Rule::advance`].
    pub const fn group(name: &'static str) -> Self {
        Self {
            extent: Extent::Group,
            ..Self::element(name)
        }
    }

    /// One f32 for each tensor, kept on the device: what a rule concludes from a [`Sum`].
    pub const fn tensor(name: &'static str) -> Self {
        Self::element(name).of(Extent::Tensor)
    }

    /// The same slot, with one value of each `extent`.
    pub const fn of(self, extent: Extent) -> Self {
        Self { extent, ..self }
    }

    /// The same slot, without a meaning between steps.
    pub const fn as_scratch(self) -> Self {
        Self {
            scratch: true,
            ..self
        }
    }

    /// The same slot, in use only if `used`.
    pub const fn used_if(self, used: bool) -> Self {
        Self { used, ..self }
    }

    /// The same slot, starting at `start`.
    pub const fn starting_at(self, start: f64) -> Self {
        Self { start, ..self }
    }
}

/// What a slot has one value of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Extent {
    /// Each parameter.
    Element,
    /// Each tensor.
    Tensor,
    /// Each row of a tensor with at least two dimensions. Its last two make matrices, of which the
    /// others count how many there are.
    Row,
    /// Each column of such a matrix.
    Column,
    /// Each parameter of a tensor with fewer than two dimensions.
    Vector,
    /// Each pair of parameters of a tensor, row-major.
    Pair,
    /// The parameter group.
    Group,
}

impl Extent {
    /// How many values there are for a tensor of `shape`. One of [`Group`](Self::Group) is no
    /// tensor's.
    ///
    /// ```
    /// use wgpu_optim::Extent;
    ///
    /// assert_eq!(Extent::Row.count(&[2, 3, 5]), 6);
    /// assert_eq!(Extent::Column.count(&[2, 3, 5]), 10);
    /// assert_eq!(Extent::Row.count(&[5]), 0);
    /// assert_eq!(Extent::Vector.count(&[5]), 5);
    /// ```
    pub fn count(self, shape: &[usize]) -> usize {
        let matrices = Matrices::of(shape);
        let of_matrices = |lines| matrices.count * lines * usize::from(matrices.has_rows);
        let elements = shape.iter().product::<usize>();
        match self {
            Self::Element => elements,
            Self::Tensor => 1,
            Self::Row => of_matrices(matrices.rows),
            Self::Column => of_matrices(matrices.columns),
            Self::Vector if matrices.has_rows => 0,
            Self::Vector => elements,
            Self::Pair => elements.saturating_mul(elements),
            Self::Group => 0,
        }
    }
}

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
        Layout,
        cpu::{Block, Real, Step},
    };

    /// A rule of these slots and stages, whatever they are.
    #[derive(Debug)]
    struct Odd {
        slots: Vec<Slot>,
        stages: Stages,
    }

    impl Rule for Odd {
        fn name(&self) -> &str {
            "odd"
        }
        fn hyperparameters(&mut self) -> Vec<Hyperparameter<'_>> {
            Vec::new()
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
        fn constants(&self) -> Vec<f64> {
            Vec::new()
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
