//! A copy of a module with the parameters to evaluate with.
//!
//! The optimizer can put them in place of those to train with, and back. It does so on copies here,
//! so that the module which is trained stays as it is.

use std::any::Any;
use std::collections::HashMap;

use burn::Tensor;
use burn::backend::DType;
use burn::backend::wgpu::CubeTensor;
use burn::module::{ModuleMapper, Param, ParamId};

use crate::context::Context;
use crate::roster::Roster;
use crate::walk::Seen;
use crate::{Error, bridge};

/// A parameter with two copies.
pub(crate) struct Twice {
    /// Its index in the roster.
    pub position: usize,
    /// What the optimizer works on.
    pub work: CubeTensor,
    /// What the module gets.
    pub result: CubeTensor,
}

/// Puts a copy in place of each parameter that the optimizer knows.
pub(crate) struct Copying<'a> {
    roster: &'a Roster,
    seen: &'a Seen,
    made: HashMap<ParamId, Box<dyn Any + Send>>,
    pub found: Vec<Twice>,
    pub error: Option<Error>,
}

impl<'a> Copying<'a> {
    pub fn new(roster: &'a Roster, seen: &'a Seen) -> Self {
        Self {
            roster,
            seen,
            made: HashMap::new(),
            found: Vec::new(),
            error: None,
        }
    }
}

impl ModuleMapper for Copying<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(position) = self.roster.position(param.id) else {
            return param;
        };
        let made = self.made.get(&param.id);
        if let Some(made) = made.and_then(|made| made.downcast_ref::<Tensor<D>>()) {
            let made = made.clone();
            return param.map(|_| made);
        }
        let id = param.id;
        let context = Context::of(&param);
        let tensor = match bridge::primitive(param.base().inner()) {
            Ok(primitive) => bridge::computed(primitive),
            Err(error) => {
                self.error = Some(error);
                return param;
            }
        };
        let expected = self.roster.members[position].storage().dtype();
        if tensor.dtype != expected {
            let found = tensor.dtype;
            let problem = format!("it is {found:?}; expected {expected:?}, as in its last step");
            self.error = Some(Error::parameter(&id.to_string(), problem));
            return param;
        }
        let in_order = |tensor: &CubeTensor| match bridge::is_in_order(tensor) {
            true => tensor.copy(),
            false => bridge::in_order(tensor.clone()),
        };
        let result = in_order(&tensor);
        let work = match (tensor.dtype, self.seen.master(id, &tensor)) {
            (DType::F16, Some(master)) => master.copy(),
            (DType::F16, None) => bridge::as_f32(tensor),
            _ => in_order(&tensor),
        };
        let made = context.restore(bridge::wrap::<D>(result.clone()), id);
        self.made.insert(id, Box::new(made.clone()));
        self.found.push(Twice {
            position,
            work,
            result,
        });
        param.map(|_| made)
    }
}
