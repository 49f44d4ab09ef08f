//! Dispatches over arenas and a caller's ranges: a plan made concrete on a device.

use std::{ops::Range, sync::Arc};

use super::{
    answers::GuardedDevice,
    begin_step::BeginStep,
    binding::{
        BESIDE, GRADS, HYPER, LINES, PARAMS, SPANS, STEP, SlotBuffer, TENSOR_FACTORS, TENSORS,
        WINDOW, elements_of, entry, filled_buffer, number_of, numbered, whole,
    },
    owning::OwningDevice,
    pipelines::Pipelines,
    records::{STEP_BYTES, STEP_STRIDE},
    source::ShaderSource,
    unbound::Unbound,
};
use crate::{
    BufferRange, Error, Rule,
    format::QUAD,
    layout::TENSOR_ALIGNMENT,
    plan::{
        BLOCK, CopyStart, DispatchLimits, GradPlace, RangeWindow, TensorRanges, Walk,
        arena_windows, as_one, length, range_windows,
    },
    shader::{self, Access, FIRST_STATE_BINDING, Frame, Pass},
    shape::Matrices,
};

/// One dispatch, ready to be recorded.
#[derive(Debug, Clone)]
pub(super) struct Dispatch {
    pub pipeline: wgpu::ComputePipeline,
    pub bind_group: wgpu::BindGroup,
    pub grid: [u32; 2],
    /// Set if the step may leave this dispatch out: where the device says whether it runs.
    pub switched: Option<Switched>,
}

/// Where an indirect dispatch reads its grid.
#[derive(Debug, Clone)]
pub(super) struct Switched {
    pub buffer: wgpu::Buffer,
    pub offset: u64,
}

impl Dispatch {
    pub fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.bind_group, &[]);
        match &self.switched {
            Some(Switched { buffer, offset }) => pass.dispatch_workgroups_indirect(buffer, *offset),
            None => {
                let [x, y] = self.grid;
                pass.dispatch_workgroups(x, y, 1);
            }
        }
    }
}

/// What every dispatch of one group binds.
#[derive(Debug, Clone, Copy)]
pub(super) struct GroupBindings<'a> {
    pub index: usize,
    pub rule: &'a dyn Rule,
    /// The group's `Hyper`.
    pub hyper: &'a wgpu::Buffer,
    /// All groups' `Step`s, and what they come from.
    pub begin_step: &'a BeginStep,
    /// Whether the update may bring its numbers itself where it is one workgroup.
    pub may_begin: bool,
    /// The slots in use, each with the group's elements. The average comes last.
    pub state: &'a [SlotBuffer],
    /// What lies beside the parameters, unless it is a copy in a caller's ranges.
    pub beside: Option<&'a SlotBuffer>,
    pub pass: Pass,
    pub frame: Frame,
    /// Storage bindings that the device has for one shader.
    pub most_bindings: u64,
    /// Set if gradients are clipped by tensor: the factors of all tensors, and the group's first
    /// unit of 64 elements among them.
    pub tensor_factors: Option<(&'a wgpu::Buffer, u64)>,
    /// What the random bits of rounding begin from.
    pub seed: u32,
    /// The rule's state of whole tensors.
    pub tensors: Option<&'a wgpu::Buffer>,
    /// The rule's state of rows and columns.
    pub lines: Option<&'a wgpu::Buffer>,
    /// Whether the rule can be in shaders by tiles.
    pub fits_tiles: bool,
}

/// The dispatches of a group of this many elements, whose parameters and gradients are these parts of
/// arenas.
pub(super) fn over_arena(
    device: &GuardedDevice<'_>,
    pipelines: &mut Pipelines,
    limits: &DispatchLimits,
    group: GroupBindings<'_>,
    params: &BufferRange,
    grads: &BufferRange,
    count: u64,
) -> Result<Vec<Unbound>, Error> {
    let storage = group.frame.storage;
    let windows = arena_windows(0..count, &storage, limits);
    let mut dispatches = Vec::new();
    let group = match &windows[..] {
        [only] => group.at_once(only.grid, false),
        _ => group,
    };
    for window in windows {
        let access = match window.grid {
            [_, 1] => Access::Arena,
            _ => Access::FoldedArena,
        };
        let source = group.source(pipelines, access);
        let in_group = &window.elements;
        let what = "the bindings of an arena";
        let unit = device.guarded(what, || group.window(device, in_group.start))??;
        let mut entries = group.entries(in_group);
        entries.push(elements_of(
            PARAMS,
            &params.buffer,
            params.offset,
            storage.params,
            in_group,
        ));
        if group.has_gradients() {
            entries.push(elements_of(
                GRADS,
                &grads.buffer,
                grads.offset,
                storage.grads,
                in_group,
            ));
        }
        entries.extend(group.window_entries(&unit));
        let name = group.rule.name();
        let dispatch = Unbound::new(&source, what, name, &entries, window.grid);
        dispatches.push(dispatch.beginning(group.pass == Pass::Step));
    }
    Ok(dispatches)
}

/// The dispatches of a group whose parameters and gradients are a caller's ranges. The ranges have
/// been checked.
pub(super) fn over_ranges(
    device: &GuardedDevice<'_>,
    pipelines: &mut Pipelines,
    limits: &DispatchLimits,
    group: GroupBindings<'_>,
    tensors: &[BoundTensor],
) -> Result<Vec<Unbound>, Error> {
    let storage = group.frame.storage;
    let (buffers, ranges) = tensor_ranges(tensors, &group);
    let mut dispatches = Vec::new();
    let windows = range_windows(&ranges, BLOCK, &storage, limits);
    for window in &windows {
        let (width, place) = (window.width, window.grad_place);
        // Copies have a place of their own in each row of the table.
        let has_spans_alone = window.walk == Walk::Spans && window.copies.is_none();
        let one = as_one(&window.spans).filter(|_| has_spans_alone);
        let (access, group) = match (window.copies.is_some(), one) {
            (true, _) => (
                Access::RangesAndCopies(width, place),
                GroupBindings {
                    beside: None,
                    ..group
                },
            ),
            (false, Some(_)) => (Access::Range(width, place), group),
            (false, None) => (access_of(window), group),
        };
        let group = match windows.len() {
            1 => group.at_once(window.grid, one.is_none()),
            _ => group,
        };
        let source = group.source(pipelines, access);
        let table = window.table();
        let (spans, usage) = match &one {
            Some(one) => (bytemuck::bytes_of(one), wgpu::BufferUsages::UNIFORM),
            None => (&table[..], wgpu::BufferUsages::STORAGE),
        };
        let dispatch = range_dispatch(
            device,
            &source,
            group,
            &buffers,
            window,
            (spans, usage),
            &[],
        )?;
        dispatches.push(dispatch);
    }
    Ok(dispatches)
}

/// The parameters and gradient of one tensor, wherever they lie.
#[derive(Debug, Clone)]
pub(super) struct BoundTensor {
    /// Set if passes that go by tiles can do so here.
    pub matrices: Option<Matrices>,
    pub param: BufferRange,
    pub grad: BufferRange,
    /// Where a caller wants a copy of its parameters.
    pub copy: Option<BufferRange>,
    /// First element in the group's state.
    pub state: u64,
    /// Number of elements.
    pub count: u64,
}

impl BoundTensor {
    fn copy_if(&self, is_wanted: bool) -> Option<&BufferRange> {
        self.copy.as_ref().filter(|_| is_wanted)
    }
}

/// The ranges of tensors, with a number for each buffer, and the buffers in that order, for the pass of
/// `group`. If it stores no copies, it need not know where these lie.
pub(super) fn tensor_ranges<'t>(
    tensors: &'t [BoundTensor],
    group: &GroupBindings<'_>,
) -> (Vec<&'t wgpu::Buffer>, Vec<TensorRanges>) {
    let with_copies = group.stores_copies();
    let by_tiles = group.goes_by_tiles();
    let buffers = numbered(tensors.iter().flat_map(|tensor| {
        let ranges = [
            Some(&tensor.param),
            Some(&tensor.grad),
            tensor.copy_if(with_copies),
        ];
        ranges.into_iter().flatten().map(|range| &range.buffer)
    }));
    let number = |range: &BufferRange| number_of(&buffers, &range.buffer);
    let ranges = tensors.iter().map(|tensor| {
        let copy = tensor.copy_if(with_copies).map(|copy| CopyStart {
            buffer: number(copy),
            offset: copy.offset,
        });
        TensorRanges {
            param_buffer: number(&tensor.param),
            param_offset: tensor.param.offset,
            grad_buffer: number(&tensor.grad),
            grad_offset: tensor.grad.offset,
            copy,
            state: tensor.state,
            count: tensor.count,
            // What goes by tiles stores no copies in ranges.
            matrices: tensor.matrices.filter(|_| by_tiles && copy.is_none()),
        }
    });
    let ranges = ranges.collect();
    (buffers, ranges)
}

/// How a dispatch over `window` finds its elements, if it has a table of them alone.
pub(super) fn access_of(window: &RangeWindow) -> Access {
    match window.walk {
        Walk::Spans => Access::Ranges(window.width, window.grad_place),
        Walk::Matrices | Walk::Vectors => Access::Tiles(window.grad_place),
    }
}

/// A dispatch over `window`, with `spans` as its table, in a buffer of this usage.
pub(super) fn range_dispatch(
    device: &GuardedDevice<'_>,
    source: &Arc<ShaderSource>,
    group: GroupBindings<'_>,
    buffers: &[&wgpu::Buffer],
    window: &RangeWindow,
    (spans, usage): (&[u8], wgpu::BufferUsages),
    beside: &[wgpu::BindGroupEntry<'_>],
) -> Result<Unbound, Error> {
    let what = match group.pass {
        Pass::Measure => "the bindings that measure tensors",
        _ => "the bindings of a caller's ranges",
    };
    let params = buffers[window.param_buffer];
    let grads = buffers[window.grad_buffer];
    let (spans, state_window) = device.guarded(what, || {
        let spans = filled_buffer(device, "spans", usage, spans)?;
        Ok::<_, Error>((spans, group.window(device, window.state.start)?))
    })??;
    let mut entries = group.entries(&window.state);
    entries.push(entry(
        PARAMS,
        params,
        window.params.start,
        length(&window.params),
    ));
    if group.has_gradients() && window.grad_place != GradPlace::InParams {
        entries.push(entry(
            GRADS,
            grads,
            window.grads.start,
            length(&window.grads),
        ));
    }
    entries.extend(window.copies.iter().map(|copies| {
        let (buffer, bytes) = (buffers[copies.buffer], &copies.bytes);
        entry(BESIDE, buffer, bytes.start, length(bytes))
    }));
    entries.push(whole(SPANS, &spans));
    entries.extend(group.window_entries(&state_window));
    entries.extend_from_slice(beside);
    let name = group.rule.name();
    let dispatch = Unbound::new(source, what, name, &entries, window.grid);
    Ok(dispatch.beginning(group.pass == Pass::Step))
}

impl<'a> GroupBindings<'a> {
    /// The shader of the group's pass.
    fn source(&self, pipelines: &mut Pipelines, access: Access) -> Arc<ShaderSource> {
        pipelines.of_group((self.index, access, self.pass), || {
            let text = shader::of_rule(self.rule, access, self.frame, self.pass);
            ShaderSource::of_rule(self.rule, text, self.pass.entry_point())
        })
    }

    /// With the update of this grid, the group's only dispatch, as a step that brings its own numbers: if
    /// it is one workgroup, and if they fit.
    fn at_once(self, grid: [u32; 2], has_table: bool) -> Self {
        // Its shader has no form for state in blocks.
        let is_in_blocks = || shader::stores_blocks(self.rule, &self.frame, self.pass);
        let is_update = self.pass == Pass::Update && self.may_begin;
        if !is_update || grid != [1, 1] || is_in_blocks() {
            return self;
        }
        let bindings = self.count(has_table) + self.begin_step.entries().len() as u64;
        match bindings <= self.most_bindings {
            true => Self {
                pass: Pass::Step,
                ..self
            },
            false => self,
        }
    }

    /// The group's `Hyper` and its `Step`, or what that comes from.
    pub fn numbers(&self) -> Vec<wgpu::BindGroupEntry<'a>> {
        let mut entries = vec![whole(HYPER, self.hyper)];
        match self.pass {
            Pass::Step => entries.extend(self.begin_step.entries()),
            _ => {
                let step = self.index as u64 * STEP_STRIDE;
                entries.push(entry(STEP, &self.begin_step.steps, step, STEP_BYTES));
            }
        }
        entries
    }

    /// The bindings of the pass, except parameters and gradients, for these elements of the state.
    fn entries(&self, elements: &Range<u64>) -> Vec<wgpu::BindGroupEntry<'a>> {
        // What the parameters' own bits lack is loaded with them.
        let is_residual = self.frame.storage.params.residual().is_some();
        let beside = self.beside.filter(|_| is_residual || self.stores_copies());
        let beside = beside.map(|SlotBuffer { buffer, encoding }| {
            elements_of(BESIDE, buffer, 0, *encoding, elements)
        });
        if self.pass == Pass::Copy {
            return beside.into_iter().collect();
        }
        let mut entries = self.numbers();
        entries.extend(beside);
        // With an average, evaluation needs the average and nothing else.
        let of_average = self.frame.average && !self.has_gradients();
        if of_average {
            // The group's `Hyper`.
            entries.remove(0);
        }
        let of_rule = self.state.len() - usize::from(self.frame.average);
        let state = match (self.pass, of_average) {
            (Pass::Update | Pass::Step, _) => 0..self.state.len(),
            (_, true) => of_rule..self.state.len(),
            (_, false) => 0..of_rule,
        };
        let used = self.rule.element_slots().into_iter();
        let used: Vec<_> = used.filter(|slot| slot.used).collect();
        for index in state {
            // Evaluation reads every slot that it binds.
            let reads = self.reads().filter(|_| self.has_gradients());
            let is_read = used.get(index).is_none_or(|slot| {
                // The average is not one of the rule's slots.
                reads.is_none_or(|names| names.contains(&slot.name))
            });
            if is_read {
                let binding = FIRST_STATE_BINDING + index as u32;
                let SlotBuffer { buffer, encoding } = &self.state[index];
                entries.push(elements_of(binding, buffer, 0, *encoding, elements));
            }
        }
        entries
    }

    /// The number of storage bindings that the pass has.
    pub fn count(&self, in_ranges: bool) -> u64 {
        // The two uniforms do not count. Parameters and gradients are added below.
        let state = self.entries(&(0..QUAD)).len() - 2;
        let measures = self.pass == Pass::Measure;
        let others = [
            in_ranges || measures,
            measures,
            self.tensors_read().is_some(),
            self.lines_read().is_some(),
            self.factors_read().is_some(),
            // Copies in a caller's ranges are not among the entries.
            self.stores_copies() && self.beside.is_none(),
        ];
        let others = others.into_iter().filter(|is_bound| *is_bound);
        (state + 2 + others.count()) as u64
    }

    /// Whether the pass stores copies of parameters.
    fn stores_copies(&self) -> bool {
        let stores = self.pass == Pass::Copy || self.pass.stores_params();
        stores && self.frame.storage.copy().is_some()
    }

    /// Whether the pass goes by tiles where matrices have them. It does if the device has a binding for
    /// the table of them, which an arena needs for nothing else.
    pub fn goes_by_tiles(&self) -> bool {
        self.fits_tiles
            && shader::goes_by_tiles(self.rule, &self.frame, self.pass)
            && self.count(true) <= self.most_bindings
    }

    /// Whether the pass reads the gradients.
    fn has_gradients(&self) -> bool {
        !matches!(self.pass, Pass::Evaluate | Pass::Train | Pass::Copy)
    }

    /// The slots that the pass reads. `None` means all.
    fn reads(&self) -> Option<&'static [&'static str]> {
        self.pass.reads(self.rule)
    }

    /// The rule's state of whole tensors, if the pass reads it.
    fn tensors_read(&self) -> Option<&'a wgpu::Buffer> {
        let looks = shader::looks_at_tensors(self.rule, self.reads());
        self.tensors.filter(|_| looks)
    }

    /// The rule's state of rows and columns, if the pass reads it.
    fn lines_read(&self) -> Option<&'a wgpu::Buffer> {
        let looks = shader::looks_at_lines(self.rule, self.reads());
        self.lines.filter(|_| looks)
    }

    /// The factors that clip tensors, if the pass reads gradients.
    fn factors_read(&self) -> Option<(&'a wgpu::Buffer, u64)> {
        self.tensor_factors.filter(|_| self.has_gradients())
    }

    /// A uniform that tells a dispatch where its state begins, `start` being that element of the
    /// group.
    pub fn window(&self, device: &OwningDevice, start: u64) -> Result<Option<wgpu::Buffer>, Error> {
        let rounds = shader::rounds(self.rule, &self.frame, self.pass);
        if !rounds && self.tensors_read().is_none() && self.factors_read().is_none() {
            return Ok(None);
        }
        let in_group = start / TENSOR_ALIGNMENT as u64;
        let group = self.factors_read().map_or(0, |(_, group)| group);
        let contents = [(group + in_group) as u32, in_group as u32, self.seed, 0];
        let uniform = wgpu::BufferUsages::UNIFORM;
        filled_buffer(device, "window", uniform, bytemuck::cast_slice(&contents)).map(Some)
    }

    pub fn window_entries<'w>(
        &self,
        window: &'w Option<wgpu::Buffer>,
    ) -> Vec<wgpu::BindGroupEntry<'w>>
    where
        'a: 'w,
    {
        let mut entries: Vec<_> = window.iter().map(|window| whole(WINDOW, window)).collect();
        entries.extend(self.lines_read().map(|lines| whole(LINES, lines)));
        entries.extend(self.tensors_read().map(|tensors| whole(TENSORS, tensors)));
        entries.extend(
            self.factors_read()
                .map(|(factors, _)| whole(TENSOR_FACTORS, factors)),
        );
        entries
    }
}
