//! Starting parameters and what each step finds, random or from a file.

use rand::{RngExt, SeedableRng, rngs::StdRng};
use wgpu_optim::{
    BufferRange, Error, Extent, Format, Formats, Layout, MOST_UNKNOWNS, MatrixWork, Rule, Slot,
    Tensor, wgpu,
};

#[cfg(target_family = "wasm")]
use super::subject::OnGpu;
use super::subject::{Readable, Subject};
#[cfg(target_family = "wasm")]
use wgpu_optim::{Gpu, Optimizer};

/// Everything that decides what the parameters will be.
pub struct Problem {
    pub layout: Layout,
    /// By tensor.
    pub params: Vec<Vec<f32>>,
    /// `grads[step][tensor]`
    pub grads: Vec<Vec<Vec<f32>>>,
    /// The learning rate of each step, for all groups; empty where it stays the rule's own.
    pub rates: Vec<f64>,
    /// What the inputs beside the gradients are filled with before each step; where a step fills
    /// none, they stay as they are.
    pub inputs: Vec<Vec<Input>>,
}

/// New values of an input of a rule.
#[derive(Clone)]
pub struct Input {
    /// Position among the layout's tensors.
    pub tensor: usize,
    pub slot: &'static str,
    pub values: Vec<f32>,
}

/// A moment at which a tensor is looked at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mark {
    /// After this step, counted from 1.
    pub step: usize,
    /// Position among the layout's tensors.
    pub tensor: usize,
    pub view: View,
}

/// What of a tensor is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// The parameters to train with.
    Trained,
    /// Those to evaluate with.
    Evaluated,
    /// A slot of state.
    State(&'static str),
}

/// The inputs beside the gradient, which the caller fills.
pub fn input_slots(rule: &dyn Rule) -> Vec<Slot> {
    let mut slots = rule.slots();
    slots.retain(|slot| slot.used && slot.input);
    slots
}

/// The state that is kept of tensors from step to step.
pub fn state_slots(rule: &dyn Rule) -> Vec<Slot> {
    let mut slots = rule.slots();
    slots.retain(|slot| slot.used && !slot.input && !slot.scratch && slot.extent != Extent::Group);
    slots
}

impl Problem {
    /// Random numbers for `layout` over `steps` steps.
    pub fn generate(layout: Layout, steps: usize, seed: u64) -> Result<Self, Error> {
        let mut rng = StdRng::seed_from_u64(seed);
        let counts: Vec<_> = layout
            .tensors()
            .map(|tensor| layout.element_count(tensor))
            .collect::<Result<_, _>>()?;
        let params = counts.iter().map(|&n| random_params(&mut rng, n)).collect();
        let grads = (0..steps)
            .map(|_| counts.iter().map(|&n| random_grads(&mut rng, n)).collect())
            .collect();
        let inputs = (0..steps)
            .map(|step| random_inputs(&mut rng, &layout, step))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            layout,
            params,
            grads,
            rates: Vec::new(),
            inputs,
        })
    }

    /// One group of `rule` with a tensor of each size, or about: in a shape that the rule looks at
    /// twice, if it looks at shapes.
    pub fn with_sizes(
        rule: impl Into<Box<dyn Rule>>,
        sizes: &[usize],
        steps: usize,
    ) -> Result<Self, Error> {
        Self::with_formats(rule, Formats::default(), sizes, steps)
    }

    /// The same, stored in `formats`.
    pub fn with_formats(
        rule: impl Into<Box<dyn Rule>>,
        formats: Formats,
        sizes: &[usize],
        steps: usize,
    ) -> Result<Self, Error> {
        let mut layout = Layout::new();
        let group = layout.group_in(rule, formats)?;
        for (index, &size) in sizes.iter().enumerate() {
            let shape = shape_for(layout.rule(group)?, index, size);
            layout.tensor(group, &format!("{index}: {size}"), &shape)?;
        }
        Self::generate(layout, steps, sizes.len() as u64)
    }

    /// Takes all steps on `subject` and calls `after` with the number of each.
    pub fn replay<S: Subject>(
        &self,
        subject: &mut S,
        mut after: impl FnMut(usize, &mut S) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.start(subject)?;
        for index in 0..self.grads.len() {
            self.prepare(subject, index)?;
            subject.take_step()?;
            after(index + 1, subject)?;
        }
        Ok(())
    }

    /// Gives `subject` the parameters to start with.
    pub fn start(&self, subject: &mut impl Subject) -> Result<(), Error> {
        let mut tensors = self.layout.tensors().zip(&self.params);
        tensors.try_for_each(|(tensor, values)| subject.set_param(tensor, values))
    }

    /// Gives `subject` what the step at `index` finds.
    pub fn prepare(&self, subject: &mut impl Subject, index: usize) -> Result<(), Error> {
        let tensors: Vec<Tensor> = self.layout.tensors().collect();
        for (&tensor, values) in tensors.iter().zip(&self.grads[index]) {
            subject.set_grad(tensor, values)?;
        }
        for input in self.inputs.get(index).into_iter().flatten() {
            let tensor = tensors[input.tensor];
            subject.set_input(tensor, input.slot, &input.values)?;
            subject.set_refreshed(self.layout.group_of(tensor)?)?;
        }
        if let Some(&lr) = self.rates.get(index) {
            for group in self.layout.groups() {
                subject.set_rate(group, lr)?;
            }
        }
        Ok(())
    }

    /// The parameters that `subject` has at each of `marks`.
    pub fn observe(
        &self,
        subject: &mut impl Readable,
        marks: &[Mark],
    ) -> Result<Vec<Vec<f64>>, Error> {
        let tensors: Vec<Tensor> = self.layout.tensors().collect();
        let mut values = vec![Vec::new(); marks.len()];
        self.replay(subject, |step, subject| {
            for evaluating in [false, true] {
                let here =
                    |mark: &Mark| mark.step == step && (mark.view == View::Evaluated) == evaluating;
                if !marks.iter().any(here) {
                    continue;
                }
                subject.set_evaluating(evaluating)?;
                let marks = marks.iter().zip(&mut values);
                for (mark, values) in marks.filter(|(mark, _)| here(mark)) {
                    let tensor = tensors[mark.tensor];
                    *values = match mark.view {
                        View::State(slot) => subject.state_values(tensor, slot)?,
                        _ => subject.values(tensor)?,
                    };
                }
                subject.set_evaluating(false)?;
            }
            Ok(())
        })?;
        Ok(values)
    }

    /// What `optimizer` comes to at `marks`, which are of the end. The web reads a device in no other way.
    #[cfg(target_family = "wasm")]
    pub async fn observe_end(
        &self,
        gpu: &Gpu,
        optimizer: &mut Optimizer,
        marks: &[Mark],
    ) -> Result<Vec<Vec<f64>>, Error> {
        let tensors: Vec<Tensor> = self.layout.tensors().collect();
        let mut values = vec![Vec::new(); marks.len()];
        self.replay(&mut OnGpu { gpu, optimizer }, |_, _| Ok(()))?;
        for evaluating in [false, true] {
            let here = |mark: &Mark| (mark.view == View::Evaluated) == evaluating;
            if !marks.iter().any(here) {
                continue;
            }
            OnGpu { gpu, optimizer }.set_evaluating(evaluating)?;
            let marks = marks.iter().zip(&mut values);
            for (mark, values) in marks.filter(|(mark, _)| here(mark)) {
                let (queue, tensor) = (&gpu.queue, tensors[mark.tensor]);
                let read = match mark.view {
                    View::State(slot) => optimizer.read_state(queue, tensor, slot).await?,
                    _ => optimizer.read_param(queue, tensor).await?,
                };
                *values = read.into_iter().map(f64::from).collect();
            }
        }
        Ok(values)
    }

    /// Every tensor after the last step, also as it is to evaluate with where that differs, as it
    /// does by an average.
    pub fn end(&self, averages: bool) -> Result<Vec<Mark>, Error> {
        let step = self.grads.len();
        let mut marks = Vec::new();
        for (index, tensor) in self.layout.tensors().enumerate() {
            let mut look = |view| {
                marks.push(Mark {
                    step,
                    tensor: index,
                    view,
                })
            };
            look(View::Trained);
            let rule = self.layout.rule(self.layout.group_of(tensor)?)?;
            if averages || rule.evaluates_elsewhere() {
                look(View::Evaluated);
            }
        }
        Ok(marks)
    }

    /// Bytes of the tensors packed without gaps.
    pub fn packed_bytes(&self) -> u64 {
        4 * self.layout.parameter_count() as u64
    }

    /// The tensors packed in `buffer` from `offset` on, each in whole words of four bytes.
    pub fn packed_in(
        &self,
        format: Format,
        buffer: &wgpu::Buffer,
        offset: u64,
    ) -> Vec<BufferRange> {
        // What else a format has does not lie here.
        let bytes = if format == Format::F32 { 4 } else { 2 };
        let mut end = offset;
        let next = |values: &Vec<f32>| {
            let size = (bytes * values.len() as u64).next_multiple_of(4);
            end += size;
            BufferRange {
                buffer: buffer.clone(),
                offset: end - size,
                size,
            }
        };
        self.params.iter().map(next).collect()
    }
}

/// Elements of the largest matrix that is made orthogonal.
const MOST_OF_MATRIX: usize = 30_000;

/// A shape of `size` elements, or fewer, that `rule` accepts, another one for each `index`.
pub fn shape_for(rule: &dyn Rule, index: usize, size: usize) -> Vec<usize> {
    match rule.stages().matrix.map(|stage| stage.work) {
        // The twin in f64 is slow with larger ones.
        Some(MatrixWork::Orthogonalize { .. }) => {
            return matrix(index % 2, size.min(MOST_OF_MATRIX));
        }
        Some(MatrixWork::Solve { .. }) => return vec![size.min(MOST_UNKNOWNS)],
        _ => {}
    }
    if rule.stages().lines.is_some() && !index.is_multiple_of(3) {
        return matrix(index, size);
    }
    vec![size]
}

/// Two dimensions near one another, or three; the smaller one first or last.
fn matrix(index: usize, size: usize) -> Vec<usize> {
    let divides = |count: &usize| size.is_multiple_of(*count);
    let smaller = (1..).take_while(|count| count * count <= size);
    let smaller = smaller.filter(divides).last().unwrap_or(1);
    match index % 3 {
        0 => vec![smaller, size / smaller],
        1 => vec![size / smaller, smaller],
        _ if smaller.is_multiple_of(2) => vec![2, smaller / 2, size / smaller],
        _ => vec![smaller, size / smaller],
    }
}

/// Parameters of magnitude one.
pub fn random_params(rng: &mut StdRng, count: usize) -> Vec<f32> {
    (0..count).map(|_| rng.random_range(-1.0..1.0)).collect()
}

/// Gradients over four decades, of both signs, one in sixteen zero.
pub fn random_grads(rng: &mut StdRng, count: usize) -> Vec<f32> {
    let one = |rng: &mut StdRng| {
        if rng.random_range(0..16) == 0 {
            return 0.0;
        }
        let sign = if rng.random_bool(0.5) { 1.0 } else { -1.0 };
        sign * 10f32.powf(rng.random_range(-3.0..1.0))
    };
    (0..count).map(|_| one(rng)).collect()
}

/// Of either sign, within a decade of one: a rule divides by them.
fn random_curvatures(rng: &mut StdRng, count: usize) -> Vec<f32> {
    let one = |rng: &mut StdRng| {
        let sign = if rng.random_bool(0.5) { 1.0 } else { -1.0 };
        sign * 10f32.powf(rng.random_range(-1.0..1.0))
    };
    (0..count).map(|_| one(rng)).collect()
}

/// A symmetric matrix whose least eigenvalue is near `least`, row-major.
fn random_hessian(rng: &mut StdRng, count: usize, least: f32) -> Vec<f32> {
    let root: Vec<f32> = random_params(rng, count * count);
    let rows: Vec<_> = root.chunks(count).collect();
    let mut hessian = Vec::with_capacity(count * count);
    for (i, a) in rows.iter().enumerate() {
        for (j, b) in rows.iter().enumerate() {
            let product: f32 = a.iter().zip(*b).map(|(x, y)| x * y).sum();
            let shift = if i == j { least } else { 0.0 };
            hessian.push(product / count as f32 + shift);
        }
    }
    hessian
}

/// Inputs for all rules of `layout` that have some, filled anew every third step.
fn random_inputs(rng: &mut StdRng, layout: &Layout, step: usize) -> Result<Vec<Input>, Error> {
    let mut inputs = Vec::new();
    if !step.is_multiple_of(3) {
        return Ok(inputs);
    }
    for (index, tensor) in layout.tensors().enumerate() {
        let rule = layout.rule(layout.group_of(tensor)?)?;
        let count = layout.element_count(tensor)?;
        for slot in input_slots(rule) {
            let values = match slot.extent {
                // Every other one is indefinite.
                Extent::Pair if index.is_multiple_of(2) => random_hessian(rng, count, 0.5),
                Extent::Pair => random_hessian(rng, count, -0.5),
                _ => random_curvatures(rng, count),
            };
            inputs.push(Input {
                tensor: index,
                slot: slot.name,
                values,
            });
        }
    }
    Ok(inputs)
}
