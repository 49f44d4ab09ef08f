//! Which parameters there are, and in which group of the optimizer each is.
//!
//! All members of a group have been in the same steps. So a group has one step count, and a step
//! leaves a group out by freezing it. Groups only ever part.

use std::collections::HashMap;

use burn::module::ParamId;

use crate::{Error, groups::Specs, storage::Storage, walk::Found};

/// A parameter that has had a gradient, in this run or in the one that a record is from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Member {
    pub id: ParamId,
    pub path: String,
    pub shape: Vec<usize>,
    /// Index of its spec.
    pub spec: usize,
    /// None until it is in a step of this run.
    pub storage: Option<Storage>,
    /// Index of its group in the optimizer. None if it has no state yet.
    pub group: Option<usize>,
}

impl Member {
    /// Its name in the optimizer's layout. A path may change with the module around it.
    pub fn name(&self) -> String {
        self.id.val().to_string()
    }

    /// The bytes of the parameter and of its gradient.
    pub fn bytes(&self) -> [u64; 2] {
        let elements = self.shape.iter().product::<usize>() as u64;
        self.storage().bytes(elements)
    }

    /// How it is stored in the step of `found`.
    fn storage_in(&self, found: &Found, specs: &Specs) -> Result<Storage, Error> {
        if self.shape != found.shape() {
            let problem = format!(
                "its shape is {:?}; expected {:?}, as in the steps before",
                found.shape(),
                self.shape
            );
            return Err(Error::parameter(&found.path, problem));
        }
        let formats = &specs.get(self.spec).formats;
        let storage = Storage::new(found.dtype, found.grad.dtype, formats);
        storage.ok_or_else(|| {
            let problem = format!(
                "it is {:?}, and Formats::params of its group is {}; expected f32, which stands for \
                 its own type, or BF16 of the parameter",
                found.dtype, formats.params
            );
            Error::parameter(&found.path, problem)
        })
    }

    /// How it is stored. One that was in no step yet has stand-ins alone, in f32.
    pub fn storage(&self) -> Storage {
        self.storage.unwrap_or(Storage::F32)
    }
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Roster {
    pub members: Vec<Member>,
    index: HashMap<ParamId, usize>,
}

/// What a step is of.
pub(crate) struct Arrangement {
    /// The position of each parameter of the step, in the step's order.
    pub positions: Vec<usize>,
    /// The learning rate of each member. None of one that is not in the step.
    pub rates: Vec<Option<f64>>,
    /// None if the groups are those of the step before.
    pub regrouping: Option<Regrouping>,
}

/// A roster whose groups differ from those before.
pub(crate) struct Regrouping {
    pub roster: Roster,
    /// The spec and the storage of each group.
    pub groups: Vec<(usize, Storage)>,
}

impl Roster {
    pub fn new(members: Vec<Member>) -> Self {
        let ids = members.iter().map(|member| member.id);
        let index = ids.enumerate().map(|(index, id)| (id, index)).collect();
        Self { members, index }
    }

    pub fn position(&self, id: ParamId) -> Option<usize> {
        self.index.get(&id).copied()
    }

    /// Has parameters that `specs` puts elsewhere now begin anew.
    pub fn follow(&mut self, specs: &Specs) {
        for member in &mut self.members {
            let spec = specs.of(member.id, &member.path);
            if spec != member.spec {
                member.spec = spec;
                member.group = None;
            }
        }
    }

    /// Groups of which each has either all of its members in the step of `found` or none, and in
    /// which all have one learning rate. `anew` makes a roster for them even if they are as before.
    pub fn arranged(
        &self,
        found: &[Found],
        specs: &Specs,
        anew: bool,
    ) -> Result<Arrangement, Error> {
        let known = self.members.len();
        let mut positions = Vec::with_capacity(found.len());
        let mut rates = vec![None; known];
        let mut added = Vec::new();
        let mut changed = Vec::new();
        let mut next = 0;
        for found in found {
            let position = self.position_from(next, found.id);
            let new = match position {
                Some(_) => None,
                None => Some(Member {
                    id: found.id,
                    path: found.path.clone(),
                    shape: found.shape().to_vec(),
                    spec: specs.of(found.id, &found.path),
                    storage: None,
                    group: None,
                }),
            };
            let position = position.unwrap_or(known + added.len());
            let member = new.as_ref().unwrap_or_else(|| &self.members[position]);
            let storage = member.storage_in(found, specs)?;
            if member.storage != Some(storage) {
                changed.push((position, storage));
            }
            added.extend(new);
            rates.resize(known + added.len(), None);
            rates[position] = Some(found.lr);
            positions.push(position);
            next = position + 1;
        }
        let is_as_before = !anew && changed.is_empty() && self.fits(&rates);
        let regrouping = (!is_as_before).then(|| {
            let mut members = self.members.clone();
            members.extend(added);
            for (position, storage) in changed {
                members[position].storage = Some(storage);
            }
            regrouped(members, &rates)
        });
        Ok(Arrangement {
            positions,
            rates,
            regrouping,
        })
    }

    /// The position of a member. A module's parameters mostly come in the order in which they came
    /// before, so `next` is looked at first.
    fn position_from(&self, next: usize, id: ParamId) -> Option<usize> {
        match self.members.get(next) {
            Some(member) if member.id == id => Some(next),
            _ => self.position(id),
        }
    }

    /// Whether all members have groups, and those of each have one learning rate or none.
    fn fits(&self, rates: &[Option<f64>]) -> bool {
        let bits = |rate: Option<f64>| rate.map(f64::to_bits);
        let mut of_group: Vec<Option<Option<u64>>> = Vec::new();
        self.members.iter().zip(rates).all(|(member, &rate)| {
            let Some(group) = member.group else {
                return false;
            };
            if group >= of_group.len() {
                of_group.resize(group + 1, None);
            }
            *of_group[group].get_or_insert(bits(rate)) == bits(rate)
        })
    }
}

/// Members in groups of those that have all in common.
fn regrouped(mut members: Vec<Member>, rates: &[Option<f64>]) -> Regrouping {
    let mut indices: HashMap<_, usize> = HashMap::new();
    let mut groups = Vec::new();
    for (member, rate) in members.iter_mut().zip(rates) {
        let common = (
            member.spec,
            member.storage(),
            member.group,
            rate.map(f64::to_bits),
        );
        let next = indices.len();
        let group = *indices.entry(common).or_insert_with(|| {
            groups.push((member.spec, member.storage()));
            next
        });
        member.group = Some(group);
    }
    Regrouping {
        roster: Roster::new(members),
        groups,
    }
}
