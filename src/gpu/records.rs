//! The structs that a step's shaders read and write in this crate's tables, in Rust.

use bytemuck::{Pod, Zeroable};

use crate::{
    Clip, Options,
    progress::{Origin, Progress},
    rule::{Step, pull},
};

/// Bytes from one group's `Step` to the next. Every device can bind a uniform at multiples of this.
pub(super) const STEP_STRIDE: u64 = 256;

/// How many coefficients a step brings for others.
pub(super) const DUE: usize = 4;

/// Bytes from one WGSL `Coefficients` to the next.
pub(super) const COEFFICIENTS_BYTES: u64 = 32;

/// WGSL's `Stats` without its groups.
#[derive(Debug, Clone, Copy, Default, Pod, Zeroable)]
#[repr(C)]
pub(super) struct StatsRecord {
    pub loss_scale: f32,
    pub good_steps: u32,
    pub norm: f32,
    pub exponent: i32,
    pub clip_factor: f32,
    pub performed: u32,
    pub skipped: u32,
    /// Not 0, unlike what was never copied.
    pub is_there: u32,
}

/// WGSL's `GroupStats`.
#[derive(Debug, Clone, Copy, Default, Pod, Zeroable)]
#[repr(C)]
pub(super) struct GroupStatsRecord {
    pub lr: f32,
    pub step_count: u32,
    pub skipped: u32,
    pub epoch: u32,
    pub damping: f32,
    pub failures: u32,
    pub unsolved: u32,
}

impl GroupStatsRecord {
    /// Performed and skipped steps of a group that counts from `origin`.
    pub fn counts(&self, Origin { base, epoch }: Origin) -> [u64; 2] {
        if self.epoch != epoch {
            // No step has brought it to the device yet.
            return [base, 0];
        }
        [true_count(base, self.step_count), self.skipped.into()]
    }
}

/// Bytes of a WGSL `Step`.
pub(super) const STEP_BYTES: u64 = 48;

/// WGSL's `Coefficients`: what goes with a performed step. The default is of no step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Coefficients {
    at: [f32; 4],
    average_weight: f32,
    n: u32,
    epoch: u32,
    padding: u32,
}

/// WGSL's `Recorded`: what the host knows of one group's step. The default is a group that rests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Recorded {
    pub own: Coefficients,
    before: Coefficients,
    due: [Coefficients; DUE],
    lr: f32,
    decay: f32,
    grad_scale: f32,
    refreshed: f32,
    base: u32,
    beyond: u32,
    padding: [u32; 2],
}

/// A step count as the device has it: within u32 for more steps than anyone will take, and 0 or 1 only
/// for 0 and 1.
pub(super) fn device_count(base: u64, count: u64) -> u32 {
    let largest_base = 1 << 31;
    (base.min(largest_base) + (count - base)) as u32
}

/// What the lower 32 bits of a count from `base` on have beyond what the device has of it.
fn beyond_device(base: u64) -> u32 {
    (base as u32).wrapping_sub(device_count(base, base))
}

/// The count that the device has as `found`.
fn true_count(base: u64, found: u32) -> u64 {
    base + u64::from(found.wrapping_sub(device_count(base, base)))
}

impl Recorded {
    /// The numbers of a step of which no step before was skipped or dropped. `progress` has counted
    /// it. `before` are the coefficients of the step recorded before, `due` those of others.
    pub fn new(
        step: Step<f64>,
        options: &Options,
        progress: &Progress,
        before: Coefficients,
        due: [Coefficients; DUE],
    ) -> Self {
        let average_weight = options
            .average
            .map(|average| pull(1.0 - average.weight(step.t)));
        // A verdict on the gradients has its own division by the micro-batches.
        let per_batch = if options.skips() {
            1.0
        } else {
            1.0 / f64::from(options.accumulate)
        };
        let Origin { base, epoch } = progress.origin();
        Self {
            own: Coefficients {
                at: step.at.map(|value| value as f32),
                average_weight: average_weight.unwrap_or_default() as f32,
                n: device_count(base, step.t),
                epoch,
                padding: 0,
            },
            before,
            due,
            lr: step.lr as f32,
            decay: step.decay as f32,
            grad_scale: (step.grad_scale * per_batch) as f32,
            refreshed: step.refreshed as f32,
            base: device_count(base, base),
            beyond: beyond_device(base),
            padding: [0; 2],
        }
    }

    /// No step, but where a group's count started.
    pub fn resting(Origin { base, epoch }: Origin) -> Self {
        Self {
            own: Coefficients {
                epoch,
                ..Coefficients::default()
            },
            base: device_count(base, base),
            beyond: beyond_device(base),
            ..Self::default()
        }
    }
}

/// WGSL's `Run`.
#[derive(Debug, Clone, Copy, Default, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Run {
    pub first: u32,
    pub count: u32,
    pub group: u32,
    pub first_unit: u32,
    pub units: u32,
    pub largest: u32,
    pub squares: f32,
    pub exponent: i32,
}

/// WGSL's `Switch`.
#[derive(Debug, Clone, Copy, Default, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Switch {
    pub grid: [u32; 3],
    pub if_skipped: u32,
    pub got: [u32; 3],
    pub padding: u32,
}

/// WGSL's `Guard`, padded to 16 bytes.
#[derive(Debug, Clone, Copy, Default, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Guard {
    clip_norm: f32,
    clips: u32,
    per_batch: f32,
    scales: u32,
    growth_factor: f32,
    backoff_factor: f32,
    growth_interval: u32,
    init_scale: f32,
}

impl Guard {
    pub fn of(options: &Options) -> Self {
        let (clip_norm, clips) = match options.clip {
            Clip::GlobalNorm(most) => (most, 1),
            Clip::TensorNorm(most) => (most, 0),
            Clip::None | Clip::Value(_) => (0.0, 0),
        };
        let scale = options.loss_scale.unwrap_or_default();
        Self {
            clip_norm: clip_norm as f32,
            clips,
            per_batch: (1.0 / f64::from(options.accumulate)) as f32,
            scales: options.loss_scale.is_some().into(),
            growth_factor: scale.growth_factor as f32,
            backoff_factor: scale.backoff_factor as f32,
            growth_interval: scale.growth_interval,
            init_scale: scale.init_scale as f32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shader::{self, assert_laid_out_as, layout_of};

    #[test]
    fn rows_lie_as_the_shader_reads_them() {
        let text = &shader::begin_step(true);
        assert_laid_out_as!(
            Coefficients, text, "Coefficients",
            at average_weight n epoch
        );
        assert_laid_out_as!(
            Recorded, text, "Recorded",
            own before due lr decay grad_scale refreshed base beyond
        );
        assert_laid_out_as!(
            GroupStatsRecord, text, "GroupStats",
            lr step_count skipped epoch damping failures unsolved
        );
        let (mut members, _) = layout_of(text, "Stats");
        let groups = members.pop().unwrap();
        assert_eq!(groups, ("groups".to_owned(), size_of::<StatsRecord>()));
        let loss_scale = (
            "loss_scale".to_owned(),
            std::mem::offset_of!(StatsRecord, loss_scale),
        );
        let skipped = (
            "skipped".to_owned(),
            std::mem::offset_of!(StatsRecord, skipped),
        );
        assert_eq!((&members[0], &members[6]), (&loss_scale, &skipped));
        let is_there = std::mem::offset_of!(StatsRecord, is_there);
        assert_eq!(members[7], ("is_there".to_owned(), is_there));
        let size = |name| layout_of(text, name).1 as u64;
        assert_eq!(size("Recorded"), size_of::<Recorded>() as u64);
        assert_eq!(size("Coefficients"), size_of::<Coefficients>() as u64);
        assert_eq!(size("GroupStats"), size_of::<GroupStatsRecord>() as u64);
        assert_eq!(size("Step"), STEP_BYTES);
        assert_eq!(size("StepSlot"), STEP_STRIDE);
        assert_eq!(size("Coefficients"), COEFFICIENTS_BYTES);
    }

    #[test]
    fn counts_of_any_size_fit_the_device_and_come_back() {
        for base in [
            0,
            1,
            7,
            (1 << 31) - 1,
            1 << 31,
            (1 << 32) - 1,
            1 << 32,
            1 << 52,
        ] {
            for steps in [0, 1, 2, 1_000_000_000] {
                let found = device_count(base, base + steps);
                assert_eq!(true_count(base, found), base + steps);
                assert_eq!(found < 2, base + steps < 2, "{base} and {steps}");
            }
        }
    }

    #[test]
    fn tables_lie_as_the_shaders_read_them() {
        let text = &shader::begin_step(true);
        assert_laid_out_as!(
            Run, text, "Run",
            first count group first_unit units largest squares exponent
        );
        assert_laid_out_as!(
            Guard, text, "Guard",
            clip_norm clips per_batch scales growth_factor backoff_factor growth_interval init_scale
        );
        assert_eq!(layout_of(text, "Run").1, size_of::<Run>());
        let (members, size) = layout_of(text, "Switch");
        assert_eq!(size, size_of::<Switch>());
        for (name, offset) in [
            ("x", std::mem::offset_of!(Switch, grid)),
            ("if_skipped", std::mem::offset_of!(Switch, if_skipped)),
            ("got_x", std::mem::offset_of!(Switch, got)),
        ] {
            assert!(members.contains(&(name.to_owned(), offset)), "{name}");
        }
    }
}
