//! What happens before and after the update: clipping, loss scaling, skipping, accumulation,
//! averaging.

use crate::{
    DispatchLimits, Error, Formats, Layout, Rule, Slot, format::listed, hyperparameter::Interval,
};

/// The state name of the running mean of the parameters. It stands beside the rule's own slots.
pub(crate) const AVERAGE: &str = "average";

/// How an [`Optimizer`](crate::Optimizer) and its [twin](crate::cpu::Optimizer) treat gradients
/// before the update and parameters after it. The defaults leave both alone.
///
/// With clipping, loss scaling or `skip_non_finite`, a step is all or nothing. If any gradient of
/// any group that takes part is NaN or infinite, the step is skipped. It then changes nothing but
/// the loss scale, the counters and, with `zero_grad`, the gradients.
///
/// ```
/// use wgpu_optim::{Clip, LossScale, Options};
///
/// let options = Options {
///     clip: Clip::GlobalNorm(1.0),
///     loss_scale: Some(LossScale::default()),
///     ..Default::default()
/// };
/// # assert!(options.skips());
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// How large a gradient may be.
    pub clip: Clip,
    /// Set this if you multiply your loss by a scale. The step divides the gradients by it.
    pub loss_scale: Option<LossScale>,
    /// Whether to skip steps whose gradients contain NaN or infinity. Clipping and loss scaling
    /// imply it.
    pub skip_non_finite: bool,
    /// Number of micro-batches whose gradients your backward passes add up before each step, from 1
    /// up. The step divides the gradients by it.
    pub accumulate: u32,
    /// Whether a step also zeroes the gradients of the groups that take part, for backward passes
    /// that add to them. That takes no further pass over memory. A skipped step zeroes them too.
    pub zero_grad: bool,
    /// A running mean of the parameters to [evaluate](crate::Optimizer::evaluate) with. It is kept
    /// as the state `"average"` in f32, without a further pass over memory.
    ///
    /// Evaluation swaps it with the parameters. If they are stored in fewer bits
    /// ([`Formats::params`]), they become the average rounded to the nearest, and the state
    /// `"average"` has their bits with the average's lower bits below. Going back restores both to the bit.
    pub average: Option<Average>,
    /// Limits below those of the device. `None` means the device's own. The CPU has none.
    pub limits: Option<DispatchLimits>,
    /// A cache to compile all shaders with. It helps where the driver does not cache shaders
    /// itself, as on Android. It must belong to the optimizer's device, and that device needs
    /// [`wgpu::Features::PIPELINE_CACHE`]. A [`Gpu`](crate::Gpu) has that feature where it is
    /// supported.
    ///
    /// ```
    /// use wgpu_optim::{Gpu, GpuOptions, Layout, Optimizer, Options, rules::AdamW, wgpu};
    ///
    /// let Gpu { device, info, .. } = Gpu::open_blocking(&GpuOptions::default())?;
    /// # let mut layout = Layout::new();
    /// # let group = layout.group(AdamW::default())?;
    /// # layout.tensor(group, "weight", &[2, 2])?;
    /// // None if this adapter has no caches. The data of another adapter would be useless.
    /// let file = wgpu::util::pipeline_cache_key(&info).map(|key| std::env::temp_dir().join(key));
    /// let pipeline_cache = file.as_ref().map(|file| {
    ///     let data = std::fs::read(file).ok();
    ///     let descriptor = wgpu::PipelineCacheDescriptor {
    ///         label: None,
    ///         data: data.as_deref(),
    ///         fallback: true,
    ///     };
    ///     // SAFETY: only this program writes the file, and it writes nothing but a cache's data.
    ///     unsafe { device.create_pipeline_cache(&descriptor) }
    /// });
    /// let options = Options { pipeline_cache: pipeline_cache.clone(), ..Default::default() };
    /// let optimizer = Optimizer::new(&device, &layout, options)?;
    /// if let (Some(file), Some(cache)) = (file, pipeline_cache) {
    ///     std::fs::write(file, cache.get_data().unwrap_or_default())?;
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub pipeline_cache: Option<wgpu::PipelineCache>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            clip: Clip::None,
            loss_scale: None,
            skip_non_finite: false,
            accumulate: 1,
            zero_grad: false,
            average: None,
            limits: None,
            pipeline_cache: None,
        }
    }
}

/// How large a gradient may be, after division by the loss scale and the number of micro-batches.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum Clip {
    /// There is no limit.
    #[default]
    None,
    /// Each element is clamped to the range from minus this to plus this.
    Value(f64),
    /// All gradients together are scaled down to at most this norm. The factor is
    /// `max_norm/(norm + 1e-6)` where that is below 1, as in `torch.nn.utils.clip_grad_norm_`.
    /// Frozen groups do not count.
    GlobalNorm(f64),
    /// The same for each tensor on its own.
    TensorNorm(f64),
}

/// A loss scale that adapts. It grows while gradients stay finite, and shrinks when they do not.
/// The defaults are those of `torch.amp.GradScaler`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LossScale {
    /// The first scale: from 2⁻¹²⁶ to 2¹²⁶ over the number of micro-batches.
    pub init_scale: f64,
    /// Multiplies the scale after `growth_interval` steps in a row without a skip, unless the scale
    /// would leave that range. At least 1.
    pub growth_factor: f64,
    /// Multiplies the scale when a step is skipped. In (0, 1].
    pub backoff_factor: f64,
    /// Steps in a row without a skip before the scale grows. At least 1.
    pub growth_interval: u32,
}

impl Default for LossScale {
    fn default() -> Self {
        Self {
            init_scale: 65536.0,
            growth_factor: 2.0,
            backoff_factor: 0.5,
            growth_interval: 2000,
        }
    }
}

impl LossScale {
    /// A scale that never changes.
    pub const fn fixed(scale: f64) -> Self {
        Self {
            init_scale: scale,
            growth_factor: 1.0,
            backoff_factor: 1.0,
            growth_interval: u32::MAX,
        }
    }
}

/// An exponential moving average of the parameters: `average ← average + (1−decay)(p − average)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Average {
    /// In `[0, 1)`.
    pub decay: f64,
    /// If true, the mean covers only the parameters after each step, divided by `1−decayᵗ` as in
    /// `optax.ema`. If false, the mean starts at the parameters before the first step.
    pub debias: bool,
}

impl Average {
    /// How far the mean moves at performed step `t`. Moving by this much is the same as debiasing
    /// `m/(1−dᵗ)`.
    pub(crate) fn weight(&self, t: u64) -> f64 {
        let weight = 1.0 - self.decay;
        if self.debias {
            weight / (1.0 - self.decay.powf(t as f64))
        } else {
            weight
        }
    }
}

impl Options {
    /// Whether a step first inspects the gradients, and is skipped if one is NaN or infinite.
    pub fn skips(&self) -> bool {
        self.clip != Clip::None || self.loss_scale.is_some() || self.skip_non_finite
    }

    /// Checks a loss scale to continue from.
    pub(crate) fn check_loss_scale(
        &self,
        layout: &Layout,
        scale: f64,
        good_steps: u32,
    ) -> Result<(), Error> {
        let refused = |name: &str, value: String, allowed: String| Error::Hyperparameter {
            rule: "options".to_owned(),
            name: name.to_owned(),
            value,
            allowed,
        };
        let Some(options) = self.loss_scale else {
            let allowed = "Some(…), for a scale to be set";
            return Err(refused("loss_scale", "None".to_owned(), allowed.to_owned()));
        };
        if good_steps >= options.growth_interval {
            let allowed = format!("fewer than growth_interval = {}", options.growth_interval);
            return Err(refused("good_steps", good_steps.to_string(), allowed));
        }
        let loss_scale = Some(LossScale {
            init_scale: scale,
            ..options
        });
        Self {
            loss_scale,
            ..self.clone()
        }
        .check(layout)
    }

    /// The largest loss scale. Gradients are divided by the scale and by the number of
    /// micro-batches, and the inverse of that divisor must be a normal f32.
    pub(crate) fn largest_scale(&self) -> f64 {
        2f64.powi(126) / f64::from(self.accumulate)
    }

    /// The element slots of `rule`, and the average after them.
    pub(crate) fn element_slots(&self, rule: &dyn Rule) -> Vec<Slot> {
        let mut slots = rule.element_slots();
        slots.push(
            Slot::element(AVERAGE)
                .exact()
                .used_if(self.average.is_some()),
        );
        slots
    }

    pub(crate) fn check(&self, layout: &Layout) -> Result<(), Error> {
        self.check_numbers()?;
        for group in layout.groups() {
            let Formats { params, .. } = layout.formats(group)?;
            let rule = layout.rule(group)?;
            // The rule computes one kind of parameters from the other. Where rounding makes one of two,
            // nothing says which of them it was.
            if params.rounds() && rule.evaluates_elsewhere() {
                let exact = Formats::PARAMS.iter().filter(|format| !format.rounds());
                return Err(Error::Format {
                    what: format!(
                        "parameters of rule {}, which evaluates with others and computes its own back from them,",
                        rule.name()
                    ),
                    format: params,
                    allowed: listed(exact),
                });
            }
        }
        for group in layout.groups().filter(|_| self.average.is_some()) {
            let rule = layout.rule(group)?;
            if rule.evaluates_elsewhere() || rule.slots().iter().any(|slot| slot.name == AVERAGE) {
                return Err(Error::Hyperparameter {
                    rule: "options".to_owned(),
                    name: "average".to_owned(),
                    value: "Some(…)".to_owned(),
                    allowed: format!("None, since the rule {} averages by itself", rule.name()),
                });
            }
        }
        Ok(())
    }

    fn check_numbers(&self) -> Result<(), Error> {
        let positive = Interval::at_least(f32::MIN_POSITIVE as f64);
        let at_least_one = Interval::at_least(1.0);
        let to_one = Interval::new(f32::MIN_POSITIVE as f64, 1.0, true);
        let mut checks = vec![("accumulate", f64::from(self.accumulate), at_least_one)];
        match self.clip {
            Clip::None => {}
            Clip::Value(most) | Clip::GlobalNorm(most) | Clip::TensorNorm(most) => {
                checks.push(("clip", most, positive));
            }
        }
        if let Some(scale) = self.loss_scale {
            checks.extend([
                (
                    "loss_scale.init_scale",
                    scale.init_scale,
                    Interval::new(f32::MIN_POSITIVE as f64, self.largest_scale(), true),
                ),
                (
                    "loss_scale.growth_factor",
                    scale.growth_factor,
                    at_least_one,
                ),
                ("loss_scale.backoff_factor", scale.backoff_factor, to_one),
                (
                    "loss_scale.growth_interval",
                    f64::from(scale.growth_interval),
                    at_least_one,
                ),
            ]);
        }
        if let Some(average) = self.average {
            checks.push(("average.decay", average.decay, Interval::BELOW_ONE));
        }
        for (name, value, allowed) in checks {
            if !allowed.contains(value) {
                return Err(Error::Hyperparameter {
                    rule: "options".to_owned(),
                    name: name.to_owned(),
                    value: value.to_string(),
                    allowed: allowed.to_string(),
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_debiased_average_is_the_mean_divided_by_its_weights() {
        let average = Average {
            decay: 0.9,
            debias: true,
        };
        let (mut plain, mut debiased) = (0.0, 0.0);
        for t in 1..=50 {
            let p = (t as f64).sin();
            plain += 0.1 * (p - plain);
            debiased += average.weight(t) * (p - debiased);
            let expected = plain / (1.0 - 0.9f64.powi(t as i32));
            assert!((debiased - expected).abs() < 1e-12, "t = {t}");
        }
    }

    #[test]
    fn options_out_of_range_are_refused_by_name() {
        let options = |change: fn(&mut Options)| {
            let mut options = Options::default();
            change(&mut options);
            options.check_numbers()
        };
        let scale = LossScale::default();
        assert_eq!(options(|_| ()), Ok(()));
        for (change, name) in [
            (
                (|o| o.clip = Clip::GlobalNorm(0.0)) as fn(&mut Options),
                "clip",
            ),
            (|o| o.clip = Clip::Value(f64::NAN), "clip"),
            (|o| o.clip = Clip::TensorNorm(-1.0), "clip"),
            (|o| o.accumulate = 0, "accumulate"),
            (
                |o| {
                    o.average = Some(Average {
                        decay: 1.0,
                        debias: false,
                    })
                },
                "average.decay",
            ),
            (|o| o.loss_scale = Some(LossScale::fixed(0.0)), "init_scale"),
        ] {
            let error = options(change).unwrap_err().to_string();
            assert!(
                error.contains(name) && error.contains("expected"),
                "{error}"
            );
        }
        for wrong in [
            LossScale {
                growth_factor: 0.5,
                ..scale
            },
            LossScale {
                backoff_factor: 0.0,
                ..scale
            },
            LossScale {
                backoff_factor: 2.0,
                ..scale
            },
            LossScale {
                growth_interval: 0,
                ..scale
            },
        ] {
            let options = Options {
                loss_scale: Some(wrong),
                ..Default::default()
            };
            assert!(options.check_numbers().is_err(), "{wrong:?}");
        }
    }
}
