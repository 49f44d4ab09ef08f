//! What a checkpoint says of an optimizer beside its tensors, as JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Error, Format, Formats, Group, Layout, Options, Stats};

/// Which version of the format this crate writes and reads.
pub(super) const VERSION: &str = "1";

/// The optimizer, apart from its tensors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Description {
    /// The version of this crate that wrote it.
    pub crate_version: String,
    pub groups: Vec<GroupDescription>,
    /// Each option as text.
    pub options: BTreeMap<String, String>,
    pub loss_scale: f64,
    pub good_steps: u64,
    pub performed: u64,
    pub skipped: u64,
    /// Of the last performed step.
    pub grad_norm: Option<f64>,
    pub clip_factor: f64,
    /// Whether the parameters were those to evaluate with.
    pub evaluating: bool,
}

/// One parameter group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct GroupDescription {
    pub rule: String,
    /// Each hyperparameter as text that [`Rule::set`](crate::Rule::set) can parse.
    pub hyperparameters: BTreeMap<String, String>,
    /// The formats of its parameters and its state, by name, and the seed of rounding. Files of before
    /// had none.
    #[serde(default = "f32")]
    pub param_format: String,
    #[serde(default = "f32")]
    pub state_format: String,
    #[serde(default = "f32")]
    pub sensitive_format: String,
    #[serde(default)]
    pub seed: u32,
    /// The names of its tensors, in the layout's order.
    pub tensors: Vec<String>,
    /// Of the next step.
    pub lr: f64,
    /// Of the last step.
    pub last_lr: f64,
    pub frozen: bool,
    /// Whether its inputs were filled anew for the next step.
    pub refreshed: bool,
    /// Steps performed, skipped, and both together.
    pub performed: u64,
    pub skipped: u64,
    pub recorded: u64,
    /// What the rule keeps once per group, after the performed steps.
    pub state: BTreeMap<String, f64>,
    pub damping: f64,
    pub failures: u64,
    pub unsolved: u64,
}

/// What the host knows of a group beside its statistics.
pub(crate) struct HostSide {
    pub lr: f64,
    pub frozen: bool,
    pub refreshed: bool,
    pub state: BTreeMap<String, f64>,
}

impl Description {
    /// `host` has one entry per group.
    pub fn new(
        layout: &Layout,
        options: &Options,
        stats: &Stats,
        host: impl IntoIterator<Item = HostSide>,
        evaluating: bool,
    ) -> Self {
        let groups = layout.groups().zip(&stats.groups).zip(host);
        let groups = groups.map(|((group, stats), host)| GroupDescription {
            rule: layout.groups[group.0].name().to_owned(),
            hyperparameters: hyperparameters(layout, group),
            param_format: layout.formats[group.0].params.to_string(),
            state_format: layout.formats[group.0].state.to_string(),
            sensitive_format: layout.formats[group.0].sensitive.to_string(),
            seed: layout.formats[group.0].seed,
            tensors: tensors(layout, group).map(str::to_owned).collect(),
            lr: host.lr,
            last_lr: stats.lr,
            frozen: host.frozen,
            refreshed: host.refreshed,
            performed: stats.step_count,
            skipped: stats.skipped,
            recorded: stats.step_count + stats.skipped,
            state: host.state,
            damping: stats.damping,
            failures: stats.failures,
            unsolved: stats.unsolved,
        });
        Self {
            crate_version: env!("CARGO_PKG_VERSION").to_owned(),
            groups: groups.collect(),
            options: texts(options),
            loss_scale: stats.loss_scale,
            good_steps: stats.good_steps,
            performed: stats.performed,
            skipped: stats.skipped,
            grad_norm: stats.grad_norm.filter(|norm| norm.is_finite()),
            clip_factor: stats.clip_factor,
            evaluating,
        }
    }

    /// Refuses what is not the description of an optimizer like this one.
    pub fn check(&self, layout: &Layout, options: &Options) -> Result<(), Error> {
        let expected = layout.groups().len();
        if self.groups.len() != expected {
            return Err(mismatch(
                "the number of groups",
                expected,
                self.groups.len(),
            ));
        }
        for (group, of_file) in layout.groups().zip(&self.groups) {
            of_file.check(layout, group)?;
        }
        for (name, expected) in texts(options) {
            let found = self.options.get(&name).map_or("nothing", String::as_str);
            if found != expected {
                return Err(mismatch(format!("the option {name}"), expected, found));
            }
        }
        Ok(())
    }
}

impl GroupDescription {
    fn check(&self, layout: &Layout, group: Group) -> Result<(), Error> {
        self.check_rule(layout, group)?;
        let Formats {
            params,
            grads: _,
            state,
            sensitive,
            // It follows from the parameters.
            copy: _,
            seed,
        } = layout.formats[group.0];
        let formats = [
            ("parameters", params, &self.param_format),
            ("state", state, &self.state_format),
            ("sensitive state", sensitive, &self.sensitive_format),
        ];
        for (of, format, found) in formats {
            if found != format.name() {
                let what = format!("the format of the {of} of group {}", group.0);
                return Err(mismatch(what, format, found));
            }
        }
        let rounds = [params, state, sensitive] != [Format::F32; 3];
        if rounds && self.seed != seed {
            let what = format!("the seed of rounding of group {}", group.0);
            return Err(mismatch(what, seed, self.seed));
        }
        let ours: Vec<_> = tensors(layout, group).collect();
        if ours.iter().ne(self.tensors.iter()) {
            let of_group = format!("the tensors of group {}", group.0);
            let pairs = ours.iter().zip(&self.tensors);
            let same = pairs.take_while(|(name, other)| *name == other);
            let first = same.count();
            let at = |names: Option<String>| names.unwrap_or_else(|| "no more".to_owned());
            return Err(mismatch(
                format!("{of_group}, number {first}"),
                at(ours.get(first).map(|name| format!("{name:?}"))),
                at(self.tensors.get(first).map(|name| format!("{name:?}"))),
            ));
        }
        Ok(())
    }

    /// Refuses another rule, and another hyperparameter than the learning rate: that one is in `lr`.
    pub fn check_rule(&self, layout: &Layout, group: Group) -> Result<(), Error> {
        let name = layout.groups[group.0].name();
        if self.rule != name {
            return Err(mismatch(
                format!("the rule of group {}", group.0),
                name,
                &self.rule,
            ));
        }
        let ours = hyperparameters(layout, group);
        for name in ours.keys().chain(self.hyperparameters.keys()) {
            if name == "lr" {
                continue;
            }
            let value = |of: &BTreeMap<String, String>| {
                of.get(name).map_or("nothing".to_owned(), String::clone)
            };
            let (expected, found) = (value(&ours), value(&self.hyperparameters));
            if expected != found {
                let what = format!("the hyperparameter {name} of group {}", group.0);
                return Err(mismatch(what, expected, found));
            }
        }
        Ok(())
    }
}

/// A checkpoint that does not belong to this optimizer.
pub(super) fn mismatch(
    what: impl Into<String>,
    expected: impl std::fmt::Display,
    found: impl std::fmt::Display,
) -> Error {
    Error::Checkpoint {
        what: what.into(),
        problem: format!("this optimizer has {expected}, the checkpoint has {found}"),
    }
}

fn f32() -> String {
    Format::F32.to_string()
}

fn hyperparameters(layout: &Layout, group: Group) -> BTreeMap<String, String> {
    let values = layout.hyperparameters(group).unwrap_or_default().iter();
    values
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect()
}

fn tensors(layout: &Layout, group: Group) -> impl Iterator<Item = &str> {
    let tensors = layout.tensors.iter();
    tensors
        .filter(move |tensor| tensor.group == group)
        .map(|tensor| tensor.name.as_str())
}

/// The options that a step's outcome depends on.
fn texts(options: &Options) -> BTreeMap<String, String> {
    let Options {
        clip,
        loss_scale,
        skip_non_finite,
        accumulate,
        zero_grad,
        average,
        // They change nothing in the outcome.
        limits: _,
        pipeline_cache: _,
    } = options;
    let texts = [
        ("clip", format!("{clip:?}")),
        ("loss_scale", format!("{loss_scale:?}")),
        ("skip_non_finite", skip_non_finite.to_string()),
        ("accumulate", accumulate.to_string()),
        ("zero_grad", zero_grad.to_string()),
        ("average", format!("{average:?}")),
    ];
    texts.map(|(name, text)| (name.to_owned(), text)).into()
}
