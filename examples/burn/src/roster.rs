//! Which parameters there are, and in which group of the optimizer each is.
//!
//! All members of a group have been in the same steps. So a group has one step count, and a step
//! leaves a group out by freezing it. Groups only ever part.

use std::collections::HashMap;

use burn::module::ParamId;

use crate::{Error, groups::Specs, walk::Found};

/// A parameter that has had a gradient, in this run or in the one that a record is from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Member {
    pub id: ParamId,
    pub path: String,
    pub shape: Vec<usize>,
    /// Index of its spec.
    pub spec: usize,
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

    pub fn bytes(&self) -> u64 {
        4 * self.shape.iter().product::<usize>() as u64
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
    /// The spec of each group.
    pub specs: Vec<usize>,
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
        }

        // What the members of a group have in common.
        let mut groups: HashMap<_, usize> = HashMap::new();
        let mut of_group = Vec::new();
        let mut became: HashMap<Option<usize>, usize> = HashMap::new();
        let mut differs = members.len() != self.members.len();
        for (member, &present) in members.iter_mut().zip(&present) {
            let common = (
                member.spec,
                member.group,
                present,
                member.lr.map(f64::to_bits),
            );
            let next = groups.len();
            let group = *groups.entry(common).or_insert_with(|| {
                of_group.push(member.spec);
                next
            });
            differs |= member.group != Some(group);
            differs |= *became.entry(member.group).or_insert(group) != group;
            member.group = Some(group);
        }
        Ok(Arrangement {
            roster: Self::new(members),
            specs: of_group,
            differs,
            present,
        })
    }
}
