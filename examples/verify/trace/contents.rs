//! The tensors of a trace, sorted by what they are.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::name::Name;
use wgpu_optim::{Extent, Rule};

/// Every tensor has the shape of the parameter that it is of, or the size of what a rule keeps of it.
pub struct Contents<'a> {
    tensors: BTreeMap<Name<'a>, TensorView<'a>>,
}

impl<'a> Contents<'a> {
    pub fn of(file: &'a SafeTensors<'a>, rule: &dyn Rule) -> Result<Self> {
        let mut tensors = BTreeMap::new();
        for (name, view) in file.iter() {
            tensors.insert(Name::parse(name)?, view);
        }
        for (name, view) in &tensors {
            let start = tensors.get(&Name::start(name.param)).with_context(|| {
                format!(
                    "tensor {name} has no start: there is no \"param.{}\"",
                    name.param
                )
            })?;
            let (shape, expected) = (view.shape(), start.shape());
            let slot = name.kind.strip_prefix("expected_").unwrap_or(name.kind);
            let mut slots = rule.slots().into_iter();
            let slot = slots.find(|other| other.name == slot && other.extent != Extent::Element);
            if let Some(extent) = slot.map(|slot| slot.extent) {
                let (count, expected) = (shape.iter().product::<usize>(), extent.count(expected));
                ensure!(
                    count == expected,
                    "tensor {name} has {count} elements; expected {expected}"
                );
                continue;
            }
            ensure!(
                shape == expected,
                "tensor {name} has the shape {shape:?}; expected {expected:?} as \"param.{}\" has",
                name.param
            );
        }
        Ok(Self { tensors })
    }

    /// The names of one kind, by step.
    pub fn of_kind(&self, kind: &str) -> Vec<Name<'a>> {
        let names = self.tensors.keys();
        names.filter(|name| name.kind == kind).copied().collect()
    }

    pub fn shape(&self, name: Name<'a>) -> Result<&[usize]> {
        Ok(self.view(name)?.shape())
    }

    /// Takes out a tensor of f32.
    pub fn take_f32(&mut self, name: Name<'a>) -> Result<Vec<f32>> {
        let view = self.view(name)?;
        ensure!(
            view.dtype() == Dtype::F32,
            "tensor {name} is of {:?}; expected F32",
            view.dtype()
        );
        // Exact, since it was F32.
        Ok(self
            .take(name)?
            .into_iter()
            .map(|value| value as f32)
            .collect())
    }

    /// Takes out a tensor of f32 or f64.
    pub fn take(&mut self, name: Name<'a>) -> Result<Vec<f64>> {
        let view = self.view(name)?;
        let values: Vec<f64> = match view.dtype() {
            Dtype::F32 => {
                let (values, _) = view.data().as_chunks();
                values
                    .iter()
                    .map(|bytes| f32::from_le_bytes(*bytes).into())
                    .collect()
            }
            Dtype::F64 => {
                let (values, _) = view.data().as_chunks();
                values
                    .iter()
                    .map(|bytes| f64::from_le_bytes(*bytes))
                    .collect()
            }
            other => bail!("tensor {name} is of {other:?}; expected F32 or F64"),
        };
        if let Some(element) = values.iter().position(|value| !value.is_finite()) {
            let value = values[element];
            bail!("tensor {name}: element {element} is {value}; expected finite numbers");
        }
        self.tensors.remove(&name);
        Ok(values)
    }

    /// Whether a tensor holds what f64 can.
    pub fn is_f64(&self, name: Name<'a>) -> Result<bool> {
        Ok(self.view(name)?.dtype() == Dtype::F64)
    }

    pub fn has(&self, name: Name<'a>) -> bool {
        self.tensors.contains_key(&name)
    }

    /// Refuses what is of steps beyond the last.
    pub fn check_steps(&self, last: usize) -> Result<()> {
        match self.tensors.keys().find(|name| name.step > last) {
            Some(name) => bail!("tensor {name}: gradients go up to step {last} only"),
            None => Ok(()),
        }
    }

    /// Refuses what was not taken out.
    pub fn check_empty(&self, rule: &str) -> Result<()> {
        match self.tensors.keys().next() {
            Some(name) => bail!(
                "tensor {name} has no place in a trace of {rule}; expected param, grad or an input of \
                 the rule, expected or evaluated, expected_f32 or evaluated_f32 beside either, or \
                 expected_ and the name of a state"
            ),
            None => Ok(()),
        }
    }

    fn view(&self, name: Name<'a>) -> Result<&TensorView<'a>> {
        let view = self.tensors.get(&name);
        view.with_context(|| format!("tensor {name} is missing"))
    }
}
