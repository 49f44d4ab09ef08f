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
    /// The learning rate of its last step. None before the first.
    pub lr: Option<f64>,
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

/// A roster for a step.
pub(crate) struct Arrangement {
    pub roster: Roster,
    /// The spec and the storage of each group.
    pub groups: Vec<(usize, Storage)>,
    /// Whether groups differ from those before.
    pub differs: bool,
    /// Which members are in the step.
    pub present: Vec<bool>,
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
    /// which all have one learning rate.
    pub fn arranged(&self, found: &[Found], specs: &Specs) -> Result<Arrangement, Error> {
        let mut members = self.members.clone();
        let mut present = vec![false; members.len()];
        let mut differs = false;
        for found in found {
            let member = match self.position(found.id) {
                Some(position) => {
                    present[position] = true;
                    &mut members[position]
                }
                None => {
                    present.push(true);
                    members.push(Member {
                        id: found.id,
                        path: found.path.clone(),
                        shape: found.shape.clone(),
                        spec: specs.of(found.id, &found.path),
                        storage: None,
                        group: None,
                        lr: None,
                    });
                    let last = members.len() - 1;
                    &mut members[last]
                }
            };
            if member.shape != found.shape {
                let problem = format!(
                    "its shape is {:?}; expected {:?}, as in the steps before",
                    found.shape, member.shape
                );
                return Err(Error::parameter(&found.path, problem));
            }
            member.lr = Some(found.lr);
            let formats = &specs.get(member.spec).formats;
            let storage = Storage::new(found.dtype, found.grad.dtype, formats);
            let Some(storage) = storage else {
                let problem = format!(
                    "it is {:?}, and Formats::params of its group is {}; expected f32, which stands for \
                     its own type, or BF16 of the parameter",
                    found.dtype, formats.params
                );
                return Err(Error::parameter(&found.path, problem));
            };
            differs |= member.storage.replace(storage) != Some(storage);
        }

        // What the members of a group have in common.
        let mut groups: HashMap<_, usize> = HashMap::new();
        let mut of_group = Vec::new();
        let mut became: HashMap<Option<usize>, usize> = HashMap::new();
        differs |= members.len() != self.members.len();
        for (member, &present) in members.iter_mut().zip(&present) {
            let common = (
                member.spec,
                member.storage(),
                member.group,
                present,
                member.lr.map(f64::to_bits),
            );
            let next = groups.len();
            let group = *groups.entry(common).or_insert_with(|| {
                of_group.push((member.spec, member.storage()));
                next
            });
            differs |= member.group != Some(group);
            differs |= *became.entry(member.group).or_insert(group) != group;
            member.group = Some(group);
        }
        Ok(Arrangement {
            roster: Self::new(members),
            groups: of_group,
            differs,
            present,
        })
    }
}
