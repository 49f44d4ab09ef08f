//! What a caller sets: learning rates, step counts and the like for each group, and the loss scale.

use super::{Optimizer, setup::Setup};
use crate::{
    BufferRange, Error, Group, Rule,
    buffer::{check_queue, guarded_now},
    format::Encoding,
    progress::Progress,
};

impl Optimizer {
    /// The learning rate of `group`'s next step.
    pub fn lr(&self, group: Group) -> Result<f64, Error> {
        Ok(self.progress(group)?.lr())
    }

    /// Sets the learning rate of `group` from the next recorded step on.
    ///
    /// # Errors
    /// [`Error::Hyperparameter`] unless `lr` is finite and not negative.
    pub fn set_lr(&mut self, group: Group, lr: f64) -> Result<(), Error> {
        let (progress, rule) = self.progress_mut(group)?;
        progress.set_lr(rule, lr)
    }

    /// Freezes `group`, or unfreezes it. Steps leave a frozen group's parameters, state and step
    /// count as they are.
    pub fn set_frozen(&mut self, group: Group, frozen: bool) -> Result<(), Error> {
        self.progress_mut(group)?.0.frozen = frozen;
        Ok(())
    }

    /// Says that the inputs of `group`'s rule, such as a curvature, have new values for its next
    /// recorded step. Your shader writes them into the range that [`state`](Self::state) gives, or
    /// you call [`write_state`](Self::write_state).
    ///
    /// ```
    /// # use wgpu_optim::{Gpu, GpuOptions, Layout, Optimizer, Options, rules::Sophia};
    /// # let Gpu { device, queue, .. } = Gpu::open_blocking(&GpuOptions::default())?;
    /// # let mut layout = Layout::new();
    /// let group = layout.group(Sophia::default())?;
    /// let weight = layout.tensor(group, "weight", &[2, 2])?;
    /// # let mut optimizer = Optimizer::new(&device, &layout, Options::default())?;
    /// # let mut encoder = device.create_command_encoder(&Default::default());
    /// // Every tenth step or so:
    /// let estimate = optimizer.state(weight, "hessian_estimate")?; // for your own bind group
    /// // … your shader fills it …
    /// optimizer.refresh(group)?;
    /// optimizer.step(&mut encoder)?;
    /// # Ok::<(), wgpu_optim::Error>(())
    /// ```
    pub fn refresh(&mut self, group: Group) -> Result<(), Error> {
        self.progress_mut(group)?.0.refreshed = true;
        Ok(())
    }

    /// Number of steps recorded for `group`. Skipped steps count too, because only the device knows
    /// which were skipped; see [`snapshot`](Self::snapshot).
    pub fn step_count(&self, group: Group) -> Result<u64, Error> {
        Ok(self.progress(group)?.step_count())
    }

    /// Continues from another step count, for instance after loading a checkpoint. If steps may be
    /// skipped, pass the count of performed steps:
    /// [`GroupStats::step_count`](crate::GroupStats::step_count).
    ///
    /// # Errors
    /// [`Error::StepCount`] above 2⁵²; [`Error::Evaluating`] after [`evaluate`](Self::evaluate).
    pub fn set_step_count(&mut self, group: Group, count: u64) -> Result<(), Error> {
        self.check_training()?;
        self.progress_mut(group)?.0.set_step_count(count)?;
        self.past[group.0].clear();
        Ok(())
    }

    /// A number that `group`'s rule keeps once per group, such as `"weight_sum"`, after the steps
    /// recorded so far.
    ///
    /// # Errors
    /// [`Error::UnknownState`] lists the names that exist.
    pub fn group_state(&self, group: Group, slot: &str) -> Result<f64, Error> {
        self.progress(group)?
            .state(self.setup.layout.rule(group)?, slot)
    }

    /// [`group_state`](Self::group_state) as it was after `count` steps. For `count` performed steps
    /// ([`GroupStats::step_count`](crate::GroupStats::step_count)), it is what goes with the state on
    /// the device, however many steps were skipped.
    ///
    /// # Errors
    /// [`Error::UnknownState`]; [`Error::StepCount`] for steps that were not recorded yet, or that lie
    /// before a count was set or more than 2048 steps before those that may be the performed ones.
    pub fn group_state_at(&self, group: Group, slot: &str, count: u64) -> Result<f64, Error> {
        let rule = self.setup.layout.rule(group)?;
        self.progress(group)?
            .state_at(&self.past[group.0], rule, slot, count)
    }

    /// Sets a number that `group`'s rule keeps once per group, for instance after loading a
    /// checkpoint: what [`group_state_at`](Self::group_state_at) gives for the performed steps, with
    /// their number as the [step count](Self::set_step_count). Steps recorded from now on follow from
    /// it. If steps were skipped since the step count was set, coefficients of as many steps are still
    /// due before.
    ///
    /// # Errors
    /// [`Error::UnknownState`]; [`Error::Hyperparameter`] for a `value` that the rule cannot keep
    /// ([`Slot::allowed`](crate::Slot::allowed)).
    pub fn set_group_state(&mut self, group: Group, slot: &str, value: f64) -> Result<(), Error> {
        let rule = self.setup.layout.rule(group)?;
        self.progress[group.0].set_state(&mut self.past[group.0], rule, slot, value)
    }

    /// Where the device keeps the factor for the next loss, an f32. Bind it to the shader that
    /// begins your backward pass. Without a loss scale the factor is 1. To continue from another
    /// one, for instance after loading a checkpoint, use [`set_loss_scale`](Self::set_loss_scale). If
    /// something else is written there that is no number from 2⁻¹²⁶ to 2¹²⁶ over the number of
    /// micro-batches, the next step is skipped, and the scale is the
    /// [first one](crate::LossScale::init_scale) again.
    pub fn loss_scale(&self) -> BufferRange {
        let Setup {
            device, begin_step, ..
        } = &self.setup;
        device.give_away(&begin_step.stats);
        BufferRange {
            buffer: begin_step.stats.clone(),
            offset: 0,
            size: Encoding::F32.bytes(1),
        }
    }

    /// Has `encoder` keep the buffers that steps use until it is submitted.
    pub(super) fn kept_by(&self, encoder: &wgpu::CommandEncoder) -> Result<(), Error> {
        let Setup {
            device, begin_step, ..
        } = &self.setup;
        let staging = &begin_step.staging;
        staging.keep(device, encoder, self.bound.clone())
    }

    /// Continues from another loss scale that was good for `good_steps` steps
    /// ([`Stats::good_steps`](crate::Stats::good_steps)), for instance after loading a checkpoint. The
    /// write comes before everything that is submitted to `queue` afterwards.
    ///
    /// # Errors
    /// [`Error::Hyperparameter`] unless [`Options::loss_scale`](crate::Options::loss_scale) is set, `scale`
    /// is from 2⁻¹²⁶ to 2¹²⁶ over the number of micro-batches, and `good_steps` are fewer than let the
    /// scale grow;
    /// [`Error::OtherDevice`] for another device's queue; [`Error::DeviceLost`].
    pub fn set_loss_scale(
        &self,
        queue: &wgpu::Queue,
        scale: f64,
        good_steps: u32,
    ) -> Result<(), Error> {
        let Setup {
            device,
            layout,
            options,
            begin_step,
            ..
        } = &self.setup;
        options.check_loss_scale(layout, scale, good_steps)?;
        check_queue(device, queue, &begin_step.stats, "setting the loss scale")?;
        let words = [(scale as f32).to_bits(), good_steps];
        guarded_now(device, "the loss scale", || {
            queue.write_buffer(&begin_step.stats, 0, bytemuck::cast_slice(&words));
        })
    }

    fn progress(&self, group: Group) -> Result<&Progress, Error> {
        self.setup.layout.check_group(group)?;
        Ok(&self.progress[group.0])
    }

    fn progress_mut(&mut self, group: Group) -> Result<(&mut Progress, &dyn Rule), Error> {
        let rule = self.setup.layout.rule(group)?;
        Ok((&mut self.progress[group.0], rule))
    }
}
