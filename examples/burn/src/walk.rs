//! A walk over a module that finds the buffers of its parameters and gradients.

use std::any::Any;
use std::collections::{HashMap, HashSet};

use burn::Tensor;
use burn::backend::wgpu::CubeTensor;
use burn::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::GradAdaptor;
use burn::tensor::{DType, Device};

use crate::context::Context;
use crate::storage::grad_format;
use crate::{Copied, Counts, Error, Operand, Reason, bridge};

/// A parameter that takes part in a step.
pub(crate) struct Found {
    pub id: ParamId,
    pub path: String,
    pub lr: f64,
    /// The parameter's type in the module.
    pub dtype: DType,
    /// What the step updates.
    pub param: CubeTensor,
    pub grad: CubeTensor,
    /// Where the step writes the update for the module, if that is not `param`.
    pub half: Option<CubeTensor>,
}

impl Found {
    pub fn shape(&self) -> &[usize] {
        self.param.meta.shape()
    }
}

/// A parameter in f32, of which the module has the nearest in f16.
struct Master {
    values: CubeTensor,
    /// What the module was given. Since this holds it too, whatever changes it puts another in its place.
    written: CubeTensor,
}

/// What walks leave for later ones.
#[derive(Default)]
pub(crate) struct Seen {
    /// Parameters that have been in a step.
    ids: HashSet<ParamId>,
    /// Room for what the next walk finds.
    pub room: Vec<Found>,
    /// Of parameters in f16.
    masters: HashMap<ParamId, Master>,
    /// What was said once.
    said: HashSet<(ParamId, Operand, Reason)>,
    pub copies: Vec<Copied>,
    pub counts: Counts,
    /// The device of all parameters.
    pub device: Option<Device>,
}

impl Seen {
    /// The parameter of `half` in f32, if the module has what was made of that.
    pub fn master(&self, id: ParamId, half: &CubeTensor) -> Option<&CubeTensor> {
        let master = self.masters.get(&id)?;
        bridge::is_same(&master.written, half).then_some(&master.values)
    }

    pub fn say(&mut self, id: ParamId, path: &str, operand: Operand, reason: Reason) {
        match reason {
            Reason::NotContiguous => self.counts.not_contiguous += 1,
            Reason::Shared => self.counts.shared += 1,
            Reason::OtherDtype => self.counts.other_dtype += 1,
        }
        if self.said.insert((id, operand, reason)) {
            self.copies.push(Copied {
                path: path.to_owned(),
                operand,
                reason,
            });
        }
    }
}

/// Finds parameters that have more than one place in a module.
#[derive(Default)]
struct Census {
    seen: HashSet<ParamId>,
    repeated: HashSet<ParamId>,
}

impl ModuleVisitor for Census {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if !self.seen.insert(param.id) {
            self.repeated.insert(param.id);
        }
    }
}

/// Where a walk is: the names of the modules that it is in, with dots between them.
#[derive(Default)]
struct Path {
    text: String,
    /// How long it was before each of the modules.
    lengths: Vec<usize>,
}

impl Path {
    fn enter(&mut self, name: &str) {
        self.lengths.push(self.text.len());
        if self.lengths.len() > 1 {
            self.text.push('.');
        }
        self.text.push_str(name);
    }

    fn exit(&mut self) {
        if let Some(length) = self.lengths.pop() {
            self.text.truncate(length);
        }
    }
}

/// Takes each parameter that has a gradient out of the module, finds both buffers, and puts the
/// parameter back in a buffer that nobody else holds. The values stay as they are.
pub(crate) struct Walk<'a> {
    path: Path,
    /// Where all parameters must be.
    device: Device,
    grads: GradAdaptor,
    lr: ModuleLearningRate,
    seen: &'a mut Seen,
    /// Parameters with more than one place: all get the tensor of the first.
    repeated: HashSet<ParamId>,
    updated: HashMap<ParamId, Box<dyn Any + Send>>,
    pub found: Vec<Found>,
    pub error: Option<Error>,
}

impl<'a> Walk<'a> {
    pub fn new<M: Module>(
        module: &M,
        device: Device,
        grads: GradAdaptor,
        lr: ModuleLearningRate,
        seen: &'a mut Seen,
    ) -> Self {
        let mut census = Census::default();
        module.visit(&mut census);
        let found = std::mem::take(&mut seen.room);
        Self {
            path: Path::default(),
            device,
            grads,
            lr,
            seen,
            repeated: census.repeated,
            updated: HashMap::new(),
            found,
            error: None,
        }
    }

    /// What can be said about a parameter before anything is taken out of the module.
    fn check<const D: usize>(
        &self,
        path: &str,
        param: &Tensor<D>,
        grad: &Tensor<D>,
        device: &Device,
    ) -> Result<(), Error> {
        let refused = |problem: String| Err(Error::parameter(path, problem));
        let dtype = param.dtype();
        if !matches!(dtype, DType::F32 | DType::F16 | DType::BF16) {
            return refused(format!("it is {dtype:?}; expected F32, F16 or BF16"));
        }
        if !grad.dtype().is_float() {
            return refused(format!(
                "its gradient is {:?}; expected a float",
                grad.dtype()
            ));
        }
        let (shape, of_grad) = (param.dims(), grad.dims());
        if shape != of_grad {
            return refused(format!(
                "its gradient has the shape {of_grad:?}; expected its own, {shape:?}"
            ));
        }
        match param.device() {
            other if other != *device => refused(format!(
                "it is on {other:?}; expected all parameters on {device:?}"
            )),
            _ => Ok(()),
        }
    }

    fn step<const D: usize>(
        &mut self,
        param: Param<Tensor<D>>,
        grad: Tensor<D>,
    ) -> Result<Param<Tensor<D>>, Box<(Param<Tensor<D>>, Error)>> {
        let path = self.path.text.clone();
        let device = self.device.clone();
        if let Err(error) = self.check(&path, &param, &grad, &device) {
            return Err(Box::new((param, error)));
        }
        if param.dims().contains(&0) {
            return Ok(param);
        }
        let id = param.id;
        let tensor = param.base();
        let context = Context::of(&tensor);
        // All that can fail comes before the parameter is taken out of the module.
        let primitive = match bridge::primitive(tensor.inner()) {
            Ok(primitive) => primitive,
            Err(error) => return Err(Box::new((param, error))),
        };
        // Burn adds up the gradients of several devices on one of them, which need not be this one.
        let grad = match grad.device() == device {
            true => grad,
            false => grad.to_device(&device),
        };
        let grad = match self.grad(id, &path, grad) {
            Ok(grad) => grad,
            Err(error) => return Err(Box::new((param, error))),
        };
        self.seen.device.get_or_insert(device);

        // What the module holds must be gone before the buffer is asked who else holds it.
        let (id, tensor, mapper) = param.consume();
        drop(tensor);
        let resolved = bridge::computed(primitive);
        let dtype = resolved.dtype;
        let needs_copy = !resolved.can_mut() || !bridge::is_in_order(&resolved);
        if needs_copy && !bridge::can_copy(&resolved) {
            let problem = "something else holds its buffer, or its elements do not lie one after \
                           another; expected neither, since burn cannot copy this type on this device";
            let error = Error::parameter(&path, format!("it is {dtype:?}, and {problem}"));
            let tensor = context.restore(bridge::wrap(resolved), id);
            let param = Param::from_mapped_value(id, tensor, mapper);
            return Err(Box::new((param, error)));
        }
        let (param, half) = match dtype {
            DType::F16 => {
                let (master, half) = self.master(id, &path, resolved);
                (master, Some(half))
            }
            _ => (self.own(id, &path, resolved), None),
        };
        let of_module = half.as_ref().unwrap_or(&param).clone();
        self.found.push(Found {
            id,
            lr: self.lr.lr_from_param(id, Some(&path)),
            path,
            dtype,
            param,
            grad,
            half,
        });
        let updated = context.restore(bridge::wrap(of_module), id);
        if self.repeated.contains(&id) {
            self.updated.insert(id, Box::new(updated.clone()));
        }
        Ok(Param::from_mapped_value(id, updated, mapper))
    }

    /// The gradient in a type that a step reads, its elements one after another.
    fn grad<const D: usize>(
        &mut self,
        id: ParamId,
        path: &str,
        grad: Tensor<D>,
    ) -> Result<CubeTensor, Error> {
        let mut grad = bridge::computed(bridge::primitive(grad)?);
        if grad_format(grad.dtype).is_none() {
            self.seen.say(id, path, Operand::Grad, Reason::OtherDtype);
            grad = bridge::as_f32(grad);
        }
        if !bridge::is_in_order(&grad) {
            self.seen
                .say(id, path, Operand::Grad, Reason::NotContiguous);
            grad = bridge::in_order(grad);
        }
        Ok(grad)
    }

    /// The parameter in a buffer that a step may write.
    ///
    /// Burn gives each parameter of a new module a buffer of its own, and a step over many buffers
    /// takes as many dispatches. A copy lands in the pool that tensors share.
    fn own(&mut self, id: ParamId, path: &str, param: CubeTensor) -> CubeTensor {
        let is_new = self.seen.ids.insert(id);
        if !bridge::is_in_order(&param) {
            self.seen
                .say(id, path, Operand::Param, Reason::NotContiguous);
            return bridge::in_order(param);
        }
        if is_new && bridge::can_copy(&param) {
            self.seen.counts.gathered += 1;
            return param.copy();
        }
        if !param.can_mut() {
            self.seen.say(id, path, Operand::Param, Reason::Shared);
            return param.copy();
        }
        param
    }

    /// A parameter of f16 in f32, and in f16 in a buffer that a step may write.
    ///
    /// What the master has beyond f16 is of use as long as the module has what was made of it.
    fn master(&mut self, id: ParamId, path: &str, half: CubeTensor) -> (CubeTensor, CubeTensor) {
        self.seen.say(id, path, Operand::Param, Reason::OtherDtype);
        let kept = self.seen.masters.remove(&id);
        let kept = kept.filter(|master| bridge::is_same(&master.written, &half));
        let kept = kept.map(|Master { values, .. }| values);
        let half = match bridge::is_in_order(&half) {
            true if half.can_mut() => half,
            true => {
                self.seen.say(id, path, Operand::Param, Reason::Shared);
                half.copy()
            }
            false => {
                self.seen
                    .say(id, path, Operand::Param, Reason::NotContiguous);
                bridge::in_order(half)
            }
        };
        let values = kept.unwrap_or_else(|| bridge::as_f32(half.clone()));
        let master = Master {
            values: values.clone(),
            written: half.clone(),
        };
        self.seen.masters.insert(id, master);
        (values, half)
    }
}

impl ModuleMapper for Walk<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if self.error.is_some() {
            return param;
        }
        let Some((grad, _)) = self.grads.remove(param.id) else {
            let updated = self.updated.get(&param.id);
            let updated = updated.and_then(|tensor| tensor.downcast_ref::<Tensor<D>>());
            return match updated.cloned() {
                Some(updated) => param.map(|_| updated),
                None => param,
            };
        };
        self.step(param, grad).unwrap_or_else(|refused| {
            let (param, error) = *refused;
            self.error = Some(error);
            param
        })
    }
}
