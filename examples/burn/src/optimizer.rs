//! The optimizer of a module.

use std::path::Path;

use burn::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::module::{Module, ParamGroup, ParamId};
use burn::optim::{GradAdaptor, GradientsParams, MultiGradientsParams, OptimizerRecord};
use burn::store::RecordError;
use burn::tensor::{Bytes, Device};
use wgpu_optim::{Checkpoint, Formats, Group, Optimizer, Options, Rule, Tensor};

use crate::device::{self, Shared};
use crate::evaluation::Copying;
use crate::groups::{Spec, Specs};
use crate::state::State;
use crate::walk::{Seen, Walk};
use crate::{Copied, Counts, Error, StepError, bridge, record};

/// Takes the place of burn's `ModuleOptimizer`: the same calls, one dispatch per parameter group and
/// buffer in place of several kernels per parameter, in place on burn's own buffers.
///
/// The learning rate is the one that each step is given, as in burn. A rule's own field `lr` is not
/// used. A parameter without a gradient in a step stays as it is, and so do its state and its count
/// of steps.
///
/// ```no_run
/// use burn::module::Module;
/// use burn::nn::{Linear, LinearConfig};
/// use burn::optim::GradientsParams;
/// use burn::tensor::Tensor;
/// use wgpu_optim_burn::{FusedOptimizer, Options, rules::AdamW};
///
/// let device = wgpu_optim_burn::init()?.autodiff();
/// let mut model: Linear = LinearConfig::new(4, 2).init(&device);
/// let mut optim = FusedOptimizer::new(AdamW::default(), Options::default());
/// for _ in 0..10 {
///     let loss = model.forward(Tensor::<2>::ones([8, 4], &device)).powf_scalar(2.0).mean();
///     let grads = GradientsParams::from_grads(loss.backward(), &model);
///     model = optim.step(1e-3, model, grads);
/// }
/// # Ok::<(), wgpu_optim_burn::Error>(())
/// ```
pub struct FusedOptimizer {
    options: Options,
    specs: Specs,
    state: State,
    seen: Seen,
    /// Why the next step cannot be done: the record that was to be loaded.
    unloaded: Option<Error>,
}

impl FusedOptimizer {
    /// One rule for all parameters. `options` clip gradients, scale the loss, skip steps and average
    /// parameters; [`Options::zero_grad`] must be off.
    ///
    /// Hyperparameters and options that are out of range are an error of the first step.
    pub fn new(rule: impl Rule + Clone + 'static, options: Options) -> Self {
        Self::from_fn(move || Box::new(rule.clone()), options)
    }

    /// [`new`](Self::new) for a rule that is made by name, such as
    /// `|| rules::by_name("lion").unwrap()`, or that cannot be cloned.
    pub fn from_fn(
        make: impl Fn() -> Box<dyn Rule> + Send + Sync + 'static,
        options: Options,
    ) -> Self {
        let all = Spec::new(ParamGroup::all(), make, Formats::default());
        Self {
            options,
            specs: Specs::new(all),
            state: State::default(),
            seen: Seen::default(),
            unloaded: None,
        }
    }

    /// How the state of the first rule is stored, such as in 8 bits. Call it before the first step.
    ///
    /// ```
    /// use wgpu_optim_burn::{Format, Formats, FusedOptimizer, Options, rules::AdamW};
    ///
    /// let optim = FusedOptimizer::new(AdamW::default(), Options::default())
    ///     .with_formats(Formats { state: Format::Int8, ..Default::default() });
    /// ```
    pub fn with_formats(mut self, formats: Formats) -> Self {
        self.specs.rest_mut().formats = formats;
        self
    }

    /// Adds a rule for the parameters that `group` matches. Of several groups that match a parameter,
    /// the last one counts. The state of parameters that come to another group begins anew.
    ///
    /// ```
    /// use burn::module::ParamGroup;
    /// use wgpu_optim_burn::{FusedOptimizer, Options, rules::AdamW};
    ///
    /// let decayed = AdamW { weight_decay: 0.1, ..Default::default() };
    /// let plain = AdamW { weight_decay: 0.0, ..Default::default() };
    /// let optim = FusedOptimizer::new(decayed, Options::default())
    ///     .with_group(ParamGroup::from_any_regexes(vec!["bias$", "norm"]).unwrap(), plain);
    /// ```
    pub fn with_group(self, group: ParamGroup, rule: impl Rule + Clone + 'static) -> Self {
        self.with_group_in(group, rule, Formats::default())
    }

    /// [`with_group`](Self::with_group), with the group's state in other formats.
    pub fn with_group_in(
        mut self,
        group: ParamGroup,
        rule: impl Rule + Clone + 'static,
        formats: Formats,
    ) -> Self {
        let make = move || -> Box<dyn Rule> { Box::new(rule.clone()) };
        self.specs.push(Spec::new(group, make, formats));
        self.state.roster.follow(&self.specs);
        self
    }

    /// Updates the parameters of `module` that have a gradient in `grads`, as
    /// `ModuleOptimizer::step` does.
    ///
    /// # Panics
    /// If the step cannot be done, with the message of the [`Error`]. As burn's own calls do, it has
    /// no other way to say so. [`try_step`](Self::try_step) gives module and error back.
    pub fn step<M: Module>(
        &mut self,
        lr: impl Into<ModuleLearningRate>,
        module: M,
        grads: GradientsParams,
    ) -> M {
        match self.try_step(lr, module, grads) {
            Ok(module) => module,
            Err(StepError { error, .. }) => panic!("{error}"),
        }
    }

    /// [`step`](Self::step) with gradients from several devices. They are added up, and brought to the
    /// device that all parameters must be on.
    ///
    /// # Panics
    /// As [`step`](Self::step).
    pub fn step_multi<M: Module>(
        &mut self,
        lr: impl Into<ModuleLearningRate>,
        module: M,
        grads: MultiGradientsParams,
    ) -> M {
        match self.try_step_multi(lr, module, grads) {
            Ok(module) => module,
            Err(StepError { error, .. }) => panic!("{error}"),
        }
    }

    /// [`step`](Self::step) that gives the module back in either case.
    ///
    /// # Errors
    /// [`StepError`] has the module with the values that it had, and the [`Error`]. The state is as it
    /// was. The gradients are gone.
    ///
    /// # Panics
    /// If burn's own code panics while it computes what it had queued.
    pub fn try_step<M: Module>(
        &mut self,
        lr: impl Into<ModuleLearningRate>,
        module: M,
        grads: GradientsParams,
    ) -> Result<M, StepError<M>> {
        self.step_common(lr.into(), module, grads.into())
    }

    /// [`step_multi`](Self::step_multi) that gives the module back in either case.
    ///
    /// # Errors
    /// As [`try_step`](Self::try_step).
    pub fn try_step_multi<M: Module>(
        &mut self,
        lr: impl Into<ModuleLearningRate>,
        module: M,
        grads: MultiGradientsParams,
    ) -> Result<M, StepError<M>> {
        self.step_common(lr.into(), module, grads.into())
    }

    fn step_common<M: Module>(
        &mut self,
        lr: ModuleLearningRate,
        module: M,
        grads: GradAdaptor,
    ) -> Result<M, StepError<M>> {
        if let Some(error) = self.unloaded.take() {
            return Err(StepError { module, error });
        }
        let shared = match self.shared(&module) {
            Ok(Some(shared)) => shared,
            // There is nothing to update.
            Ok(None) => return Ok(module),
            Err(error) => return Err(StepError { module, error }),
        };
        let mut walk = Walk::new(&module, shared.burn.clone(), grads, lr, &mut self.seen);
        let mut module = Some(module);
        let mut map = || module = module.take().map(|module| module.map(&mut walk));
        let walked = shared.thread.run(&mut map);
        let Walk {
            mut found, error, ..
        } = walk;
        let Some(module) = module else {
            // A panic in burn's own code. Without this crate it would have come up here as well.
            panic!("burn failed within a walk over the module: {walked:?}");
        };
        let done = match (walked, error) {
            (Err(error), _) | (_, Some(error)) => Err(error),
            _ if found.is_empty() => Ok(()),
            _ => self.update(&shared, &found),
        };
        found.clear();
        self.seen.room = found;
        match done {
            Ok(()) => Ok(module),
            Err(error) => Err(StepError { module, error }),
        }
    }

    fn update(&mut self, shared: &Shared, found: &[crate::walk::Found]) -> Result<(), Error> {
        if self.options.zero_grad {
            return Err(Error::Option {
                option: "Options::zero_grad",
                value: "true".to_owned(),
                allowed: "false, since burn has new gradients at each backward pass",
            });
        }
        let seen = &mut self.seen;
        self.state
            .step(shared, &self.specs, &self.options, found, seen)
    }

    /// The handles behind a module's device. None if the module has no parameters.
    fn shared<M: Module>(&self, module: &M) -> Result<Option<Shared>, Error> {
        let device = match &self.seen.device {
            Some(device) => Some(device.clone()),
            None => module.devices().into_iter().next(),
        };
        device.map(|device| device::find(&device)).transpose()
    }

    /// A copy of `module` with the parameters to evaluate with, for [`Options::average`] and the
    /// schedule-free rules. Of all other rules these are the parameters themselves. The module and the
    /// training stay as they are.
    ///
    /// # Errors
    /// [`Error::Optimizer`] for a device that does not answer or has no memory left.
    pub fn evaluated<M: Module>(&mut self, module: &M) -> Result<M, Error> {
        let differs = self.options.average.is_some()
            || self.optimizer().is_some_and(|optimizer| {
                let layout = optimizer.layout();
                let mut rules = layout.groups().filter_map(|group| layout.rule(group).ok());
                rules.any(|rule| rule.evaluates_elsewhere())
            });
        let (true, true, Some(shared)) =
            (differs, self.optimizer().is_some(), self.shared(module)?)
        else {
            return Ok(module.clone());
        };
        let mut copying = Copying::new(&self.state.roster, &self.seen);
        let copy = module.clone();
        let module = shared.thread.run(|| copy.map(&mut copying))?;
        let Copying { found, error, .. } = copying;
        if let Some(error) = error {
            return Err(error);
        }
        self.state.evaluate(&shared, &found)?;
        Ok(module)
    }

    /// The factor for the next loss, `[1]`, on `device` and off the tape, without waiting for it. It
    /// is 1 without [`Options::loss_scale`].
    ///
    /// ```no_run
    /// # use burn::{module::Module, nn::Linear, optim::GradientsParams, tensor::{Device, Tensor}};
    /// # use wgpu_optim_burn::{Error, FusedOptimizer};
    /// # fn step(mut optim: FusedOptimizer, mut model: Linear, loss: Tensor<1>, device: &Device) -> Result<Linear, Error> {
    /// let scale = Tensor::from_inner(optim.loss_scale(device)?);
    /// let grads = GradientsParams::from_grads((loss * scale).backward(), &model);
    /// model = optim.step(1e-3, model, grads);
    /// # Ok(model)
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::UnknownDevice`], [`Error::Burn`].
    pub fn loss_scale(&self, device: &Device) -> Result<burn::Tensor<1>, Error> {
        let device = device.clone().inner();
        let Some(optimizer) = self.optimizer() else {
            let scale = self
                .options
                .loss_scale
                .map_or(1.0, |scale| scale.init_scale);
            return Ok(burn::Tensor::full([1], scale, &device));
        };
        let shared = device::find(&device)?;
        let tensor = bridge::computed(bridge::primitive(burn::Tensor::<1>::empty([1], &device))?);
        let places = bridge::places(&[&tensor])?;
        let from = optimizer.loss_scale();
        let mut encoder = shared.device.create_command_encoder(&Default::default());
        for to in &places.ranges {
            encoder.copy_buffer_to_buffer(
                &from.buffer,
                from.offset,
                &to.buffer,
                to.offset,
                to.size,
            );
        }
        shared.queue.submit([encoder.finish()]);
        Ok(bridge::wrap(tensor))
    }

    /// The state as a record, for burn's recorders and checkpointers. It waits for the device.
    ///
    /// Save the module's record beside it: the state belongs to the ids of the module's parameters.
    ///
    /// # Panics
    /// If the device does not answer, with the message of the [`Error`]. As burn's own call, it has
    /// no other way to say so. [`try_to_record`](Self::try_to_record) gives the error.
    pub fn to_record(&self) -> OptimizerRecord {
        match self.try_to_record() {
            Ok(record) => record,
            Err(error) => panic!("{error}"),
        }
    }

    /// [`to_record`](Self::to_record) that gives the error.
    ///
    /// # Errors
    /// [`Error::Optimizer`] for a device that does not answer or has no memory left.
    pub fn try_to_record(&self) -> Result<OptimizerRecord, Error> {
        let (Some(bound), Some(device)) = (&self.state.bound, &self.seen.device) else {
            return match &self.state.recorded {
                Some((file, _)) => record::of_file(file.clone()),
                None => Ok(OptimizerRecord::default()),
            };
        };
        let shared = device::find(device)?;
        record::of_file(bound.saved(&shared, record::texts(&self.state.roster))?)
    }

    /// Goes on from a record that [`to_record`](Self::to_record) made, with the same rules. Load the
    /// module's own record too, which gives the parameters the ids that the state belongs to.
    ///
    /// A record that is damaged, of burn's own optimizers or of other rules is an error of the next
    /// step, which does nothing then. [`try_load_record`](Self::try_load_record) says most of it at
    /// once.
    pub fn load_record(mut self, record: OptimizerRecord) -> Self {
        self.unloaded = self.load_from(record).err();
        self
    }

    /// [`load_record`](Self::load_record) that gives the error, unless it can be known only with the
    /// module.
    ///
    /// # Errors
    /// [`Error::Record`] and [`Error::Optimizer`] for what is no record of this crate's. The optimizer
    /// comes back as it was.
    pub fn try_load_record(mut self, record: OptimizerRecord) -> Result<Self, (Box<Self>, Error)> {
        match self.load_from(record) {
            Ok(()) => Ok(self),
            Err(error) => Err((Box::new(self), error)),
        }
    }

    fn load_from(&mut self, record: OptimizerRecord) -> Result<(), Error> {
        let Some(file) = record::file_of(record)? else {
            self.state = State::default();
            return Ok(());
        };
        let checkpoint = Checkpoint::from_bytes(file.clone())?;
        let roster = record::roster_of(&checkpoint, &self.specs)?;
        self.state = State::recorded(roster, file, checkpoint);
        Ok(())
    }

    /// The state as the bytes of a file, as `ModuleOptimizer::into_bytes` gives it.
    ///
    /// # Errors
    /// What burn's own call gives.
    pub fn into_bytes(&self) -> Result<Bytes, RecordError> {
        self.to_record().into_bytes()
    }

    /// [`load_record`](Self::load_record) from the bytes of a file.
    ///
    /// # Errors
    /// What burn's own call gives.
    pub fn from_bytes(self, bytes: Bytes) -> Result<Self, RecordError> {
        Ok(self.load_record(OptimizerRecord::from_bytes(bytes)?))
    }

    /// Saves the state to a file.
    ///
    /// # Errors
    /// What burn's own call gives.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), RecordError> {
        self.to_record().save(path)
    }

    /// [`load_record`](Self::load_record) from a file.
    ///
    /// # Errors
    /// What burn's own call gives.
    pub fn load(self, path: impl AsRef<Path>) -> Result<Self, RecordError> {
        Ok(self.load_record(OptimizerRecord::load(path)?))
    }

    /// How often what happened in the steps so far.
    pub fn counts(&self) -> &Counts {
        &self.seen.counts
    }

    /// The tensors that cost a copy, each once, in the order in which they did so first.
    pub fn copies(&self) -> &[Copied] {
        &self.seen.copies
    }

    /// The optimizer behind this one, for its [statistics](Optimizer::snapshot) and its
    /// [state](Optimizer::state). There is none before the first step, and another after parameters
    /// with a gradient came or went.
    pub fn optimizer(&self) -> Option<&Optimizer> {
        self.state.bound.as_ref().map(|bound| &bound.optimizer)
    }

    /// The tensor of [`optimizer`](Self::optimizer) for a parameter, and its group there. None for a
    /// parameter that had no gradient yet.
    pub fn tensor(&self, id: ParamId) -> Option<(Tensor, Group)> {
        let bound = self.state.bound.as_ref()?;
        let position = self.state.roster.position(id)?;
        let group = self.state.roster.members[position].group?;
        let tensor = bound.optimizer.layout().tensors().nth(position)?;
        Some((tensor, bound.groups[group]))
    }

    /// Says that what a parameter's rule waits for beside the gradient, such as Sophia's
    /// `"hessian_estimate"`, has new values for the next step. Write them with
    /// [`Optimizer::write_state`] and the queue of [`handles`](crate::handles).
    ///
    /// # Errors
    /// [`Error::Parameter`] for a parameter that had no gradient yet.
    pub fn refresh(&mut self, id: ParamId) -> Result<(), Error> {
        match (self.tensor(id), &mut self.state.bound) {
            (Some((_, group)), Some(bound)) => Ok(bound.optimizer.refresh(group)?),
            _ => Err(Error::parameter(
                &id.to_string(),
                "it has not been in a step yet",
            )),
        }
    }

    /// The number of steps that a parameter took part in, skipped ones too.
    pub fn step_count(&self, id: ParamId) -> u64 {
        let optimizer = self.optimizer();
        let count = optimizer.zip(self.tensor(id));
        let count = count.and_then(|(optimizer, (_, group))| optimizer.step_count(group).ok());
        count.unwrap_or_default()
    }
}
