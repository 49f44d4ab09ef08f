//! Which tensors of a checkpoint go where in an optimizer.

use std::collections::{HashMap, HashSet};

use safetensors::Dtype;

use super::{
    contents::{Entry, Part, entries},
    description::{Description, GroupDescription, mismatch},
    header::bad,
    reader::Checkpoint,
};
use crate::{Error, Layout, Options, Tensor};

/// What [`Optimizer::load_partial`](crate::Optimizer::load_partial) did, as names of tensors.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Tensors of the layout whose state, or parameters too, came from the checkpoint.
    pub loaded: Vec<String>,
    /// Tensors of the layout that the checkpoint has nothing for. They are as they were before.
    pub fresh: Vec<String>,
    /// Tensors of the checkpoint that went nowhere, by their names in the file.
    pub left_over: Vec<String>,
}

/// What goes from a checkpoint into an optimizer. Names, shapes and formats have been checked.
#[derive(Debug)]
pub(crate) struct Matching<'a> {
    pub description: &'a Description,
    /// The file's tensors that are read, in the order of the file, and where each goes. What completes
    /// parameters comes after all others.
    pub tensors: Vec<(usize, Entry)>,
    /// For each group of the layout, the one of the file that it continues.
    pub groups: Vec<Option<&'a GroupDescription>>,
    pub loaded: Loaded,
}

impl Matching<'_> {
    /// The loss scale to continue from and its good steps, if the optimizer has one.
    pub fn loss_scale(
        &self,
        layout: &Layout,
        options: &Options,
    ) -> Result<Option<(f64, u32)>, Error> {
        let Some(of_options) = options.loss_scale else {
            return Ok(None);
        };
        // Steps that were good for a longer interval let the scale grow at the next one.
        let most = of_options.growth_interval - 1;
        let good_steps = self.description.good_steps.min(u64::from(most)) as u32;
        let scale = self.description.loss_scale;
        options.check_loss_scale(layout, scale, good_steps)?;
        Ok(Some((scale, good_steps)))
    }
}

/// Matches all of the file with all of an optimizer whose numbers are of type `dtype`.
pub(crate) fn exact<'a>(
    checkpoint: &'a Checkpoint,
    layout: &Layout,
    options: &Options,
    dtype: Dtype,
) -> Result<Matching<'a>, Error> {
    let header = &checkpoint.header;
    header.description.check(layout, options)?;
    let has_params = header
        .tensors
        .iter()
        .any(|(name, _)| name.starts_with("model."));
    let expected = entries(layout, options, dtype, has_params);
    let mut known = by_name(checkpoint);
    let mut tensors = Vec::new();
    for entry in expected {
        let Some(index) = find(checkpoint, &mut known, &entry, dtype)? else {
            continue;
        };
        if entry.part == Part::Step {
            let group = layout.tensors[entry.tensor.0].group;
            check_step(checkpoint, &entry.name, &header.description.groups[group.0])?;
        } else {
            tensors.push((index, entry));
        }
    }
    if let Some(name) = known.keys().min() {
        return Err(bad(
            format!("tensor {name:?}"),
            "this optimizer keeps no such tensor",
        ));
    }
    sort(&mut tensors);
    Ok(Matching {
        description: &header.description,
        tensors,
        groups: header.description.groups.iter().map(Some).collect(),
        loaded: Loaded::default(),
    })
}

/// The parameters alone.
pub(crate) fn params<'a>(
    checkpoint: &'a Checkpoint,
    layout: &Layout,
    options: &Options,
    dtype: Dtype,
) -> Result<Matching<'a>, Error> {
    let mut known = by_name(checkpoint);
    let expected = entries(layout, options, dtype, true).into_iter();
    let mut tensors = Vec::new();
    let of_params = |entry: &Entry| matches!(entry.part, Part::Param | Part::Residual);
    for entry in expected.filter(of_params) {
        let Some(index) = find(checkpoint, &mut known, &entry, dtype)? else {
            continue;
        };
        tensors.push((index, entry));
    }
    sort(&mut tensors);
    Ok(Matching {
        description: &checkpoint.header.description,
        tensors,
        groups: vec![None; layout.groups.len()],
        loaded: Loaded::default(),
    })
}

/// Matches by name. `name_in_file` gives the name that a tensor of the layout has in the file.
pub(crate) fn partial<'a>(
    checkpoint: &'a Checkpoint,
    layout: &Layout,
    options: &Options,
    dtype: Dtype,
    name_in_file: impl Fn(&str) -> Option<String>,
) -> Result<Matching<'a>, Error> {
    let header = &checkpoint.header;
    let description = &header.description;
    if description.evaluating {
        let problem = "its parameters are those to evaluate with; only load() takes them";
        return Err(bad("the checkpoint", problem));
    }
    let mut known = by_name(checkpoint);
    let mut group_of = HashMap::new();
    for group in &description.groups {
        group_of.extend(group.tensors.iter().map(|name| (name.as_str(), group)));
    }
    let names: Vec<_> = layout
        .tensors
        .iter()
        .map(|tensor| name_in_file(&tensor.name))
        .collect();
    let in_file = |tensor: Tensor| {
        let name = names[tensor.0].as_deref()?;
        group_of.get(name).copied().map(|group| (name, group))
    };
    let mut groups = Vec::new();
    for (index, group) in layout.groups().enumerate() {
        let members = layout
            .tensors()
            .filter(|tensor| layout.tensors[tensor.0].group == group);
        let (there, fresh): (Vec<_>, Vec<_>) =
            members.partition(|&tensor| in_file(tensor).is_some());
        let of_file: Vec<_> = there.iter().filter_map(|&tensor| in_file(tensor)).collect();
        let Some(&(first_name, first)) = of_file.first() else {
            groups.push(None);
            continue;
        };
        if let Some(&fresh) = fresh.first() {
            let name = &layout.tensors[fresh.0].name;
            let problem = format!(
                "the checkpoint has none, and others of group {index} have taken {} steps; put new \
                 tensors into a group of their own",
                first.performed
            );
            return Err(bad(format!("tensor {name:?}"), problem));
        }
        let rule = layout.groups[index].name();
        for (name, other) in of_file {
            if other.rule != rule {
                let what = format!("the rule of tensor {name:?}");
                return Err(mismatch(what, rule, &other.rule));
            }
            if (other.performed, &other.state) != (first.performed, &first.state) {
                let problem = format!(
                    "it has taken {} steps, and {first_name:?} of the same group has taken {}, or their \
                     groups differ in what they keep; give them groups of their own",
                    other.performed, first.performed
                );
                return Err(bad(format!("tensor {name:?}"), problem));
            }
        }
        groups.push(Some(first));
    }
    let mut loaded = Loaded::default();
    for tensor in layout.tensors() {
        let list = match in_file(tensor) {
            Some(_) => &mut loaded.loaded,
            None => &mut loaded.fresh,
        };
        list.push(layout.tensors[tensor.0].name.clone());
    }
    let has_params = header
        .tensors
        .iter()
        .any(|(name, _)| name.starts_with("model."));
    let mut tensors = Vec::new();
    for mut entry in entries(layout, options, dtype, has_params) {
        let Some((name, group)) = in_file(entry.tensor) else {
            continue;
        };
        entry.name = entry.part.name(name);
        let Some(index) = find(checkpoint, &mut known, &entry, dtype)? else {
            continue;
        };
        if entry.part == Part::Step {
            check_step(checkpoint, &entry.name, group)?;
        } else {
            tensors.push((index, entry));
        }
    }
    sort(&mut tensors);
    let twice = tensors.windows(2).find(|pair| pair[0].0 == pair[1].0);
    if let Some([(_, entry), _]) = twice {
        let problem = "two tensors of the layout ask for it";
        return Err(bad(format!("tensor {:?}", entry.name), problem));
    }
    let taken: HashSet<_> = layout
        .tensors()
        .filter_map(in_file)
        .map(|(name, _)| name)
        .collect();
    let of_file = description.groups.iter().flat_map(|group| &group.tensors);
    let left_over = of_file.filter(|name| !taken.contains(name.as_str()));
    loaded.left_over = left_over.cloned().collect();
    Ok(Matching {
        description,
        tensors,
        groups,
        loaded,
    })
}

/// Puts tensors into the order in which they are read.
fn sort(tensors: &mut [(usize, Entry)]) {
    tensors.sort_by_key(|(index, entry)| (entry.part == Part::Residual, *index));
}

fn by_name(checkpoint: &Checkpoint) -> HashMap<&str, usize> {
    let names = checkpoint.names().enumerate();
    names.map(|(index, name)| (name, index)).collect()
}

/// Takes the tensor of `entry` from those that are `known`. There may be none where it is a residual and
/// numbers are f64: the parameters of a file of f64 are whole.
fn find(
    checkpoint: &Checkpoint,
    known: &mut HashMap<&str, usize>,
    entry: &Entry,
    dtype: Dtype,
) -> Result<Option<usize>, Error> {
    let may_lack = entry.part == Part::Residual && dtype == Dtype::F64;
    if may_lack && !known.contains_key(entry.name.as_str()) {
        return Ok(None);
    }
    let index = take(known, &entry.name)?;
    check(checkpoint, index, entry)?;
    Ok(Some(index))
}

fn take(known: &mut HashMap<&str, usize>, name: &str) -> Result<usize, Error> {
    known.remove(name).ok_or_else(|| {
        bad(
            format!("tensor {name:?}"),
            "the checkpoint has no such tensor",
        )
    })
}

/// Refuses another shape, and a type whose numbers would be rounded.
fn check(checkpoint: &Checkpoint, index: usize, entry: &Entry) -> Result<(), Error> {
    let (what, found) = (format!("tensor {:?}", entry.name), checkpoint.info(index));
    let encoded = entry.encoded();
    if entry.dtype == Dtype::F64 && (found.dtype, &found.shape) == (encoded.0, &encoded.1) {
        return Ok(());
    }
    let fits = found.dtype == entry.dtype;
    if !fits {
        return Err(mismatch(
            what,
            format!("{:?}", entry.dtype),
            format!("{:?}", found.dtype),
        ));
    }
    if found.shape != entry.shape {
        let [expected, found] =
            [&entry.shape, &found.shape].map(|shape| format!("shape {shape:?}"));
        return Err(mismatch(what, expected, found));
    }
    Ok(())
}

/// Refuses a `step` that contradicts the group's count.
fn check_step(checkpoint: &Checkpoint, name: &str, group: &GroupDescription) -> Result<(), Error> {
    let expected = group.performed as f32;
    match checkpoint.steps.get(name) {
        Some(&found) if found == expected => Ok(()),
        Some(found) => {
            let problem = format!(
                "it is {found}, and its group has taken {} steps",
                group.performed
            );
            Err(bad(format!("tensor {name:?}"), problem))
        }
        None => Err(bad(format!("tensor {name:?}"), "it is no single number")),
    }
}
