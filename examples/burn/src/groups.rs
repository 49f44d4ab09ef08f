//! Which rule updates which parameters.

use burn::module::{ParamGroup, ParamId};
use wgpu_optim::{Format, Formats, Group, Layout, Rule};

use crate::{Error, storage::Storage};

/// Makes the rule of a group anew for each layout.
type MakeRule = Box<dyn Fn() -> Box<dyn Rule> + Send + Sync>;

/// A rule, its formats, and the parameters that it is for.
pub(crate) struct Spec {
    pub matches: ParamGroup,
    make: MakeRule,
    pub formats: Formats,
}

impl Spec {
    pub fn new(
        matches: ParamGroup,
        make: impl Fn() -> Box<dyn Rule> + Send + Sync + 'static,
        formats: Formats,
    ) -> Self {
        Self {
            matches,
            make: Box::new(make),
            formats,
        }
    }

    /// Adds a group of this rule to `layout`, for parameters of this storage.
    pub fn add_to(&self, layout: &mut Layout, storage: Storage) -> Result<Group, Error> {
        let Formats { grads, copy, .. } = self.formats;
        let refused = |option, value: String, allowed| {
            Err(Error::Option {
                option,
                value,
                allowed,
            })
        };
        // Burn's buffers are what they are.
        if grads != Format::F32 {
            let allowed = "f32, which stands for the gradient's own type";
            return refused("Formats::grads", grads.to_string(), allowed);
        }
        if let Some(copy) = copy {
            return refused("Formats::copy", copy.to_string(), "None");
        }
        Ok(layout.group_in((self.make)(), storage.of_group(&self.formats))?)
    }
}

/// All groups. As in burn, the last one that matches a parameter counts.
pub(crate) struct Specs(Vec<Spec>);

impl Specs {
    /// `rest` is for all parameters that no later group is for.
    pub fn new(rest: Spec) -> Self {
        Self(vec![rest])
    }

    pub fn push(&mut self, spec: Spec) {
        self.0.push(spec);
    }

    /// The group of all parameters.
    pub fn rest_mut(&mut self) -> &mut Spec {
        &mut self.0[0]
    }

    pub fn get(&self, index: usize) -> &Spec {
        &self.0[index]
    }

    /// The index of the parameter's group.
    pub fn of(&self, id: ParamId, path: &str) -> usize {
        let matching = |spec: &Spec| spec.matches.matches(&id, Some(path));
        // The first one matches all.
        self.0.iter().rposition(matching).unwrap_or(0)
    }
}
