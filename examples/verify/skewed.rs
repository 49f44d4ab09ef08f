//! A rule that is wrong on purpose: what has to be found out.

use wgpu_optim::cpu::{Block, Real, Step, Twin};
use wgpu_optim::hyperparameter::Hyperparameter;
use wgpu_optim::rules::Sgd;
use wgpu_optim::{Declaration, Rule, Slot};

/// SGD with a shader, or a twin in f32, that is not quite its twin in f64.
#[derive(Debug)]
pub struct Skewed {
    pub is_sign_based: bool,
    pub sgd: Sgd,
    pub wgsl: String,
    /// Of the rate of the twin in f32.
    pub factor_in_f32: f64,
}

impl Skewed {
    /// With `in_wgsl` where the shader has the learning rate.
    pub fn new(lr: f64, in_wgsl: &str) -> Self {
        let sgd = Sgd {
            lr,
            ..Default::default()
        };
        Self {
            is_sign_based: false,
            wgsl: sgd.wgsl().replace("now.lr", in_wgsl),
            sgd,
            factor_in_f32: 1.0,
        }
    }
}

impl<T: Real> Twin<T> for Skewed
where
    Sgd: Twin<T>,
{
    fn update(&self, block: Block<'_, T>, mut now: Step<T>) {
        if size_of::<T>() == 4 {
            now.lr = now.lr * T::from_f64(self.factor_in_f32);
        }
        Twin::<T>::update(&self.sgd, block, now);
    }
}

impl Rule for Skewed {}

impl Declaration for Skewed {
    fn name(&self) -> &str {
        "skewed"
    }

    fn hyperparameters(&mut self) -> Vec<Hyperparameter<'_>> {
        self.sgd.hyperparameters()
    }

    fn lr(&self) -> f64 {
        self.sgd.lr
    }

    fn slots(&self) -> Vec<Slot> {
        self.sgd.slots()
    }

    fn constants(&self) -> Vec<(&'static str, f64)> {
        self.sgd.constants()
    }

    fn flags(&self) -> Vec<(&'static str, bool)> {
        self.sgd.flags()
    }

    fn at(&self, t: u64) -> [f64; 4] {
        self.sgd.at(t)
    }

    fn is_sign_based(&self) -> bool {
        self.is_sign_based
    }

    fn wgsl(&self) -> &str {
        &self.wgsl
    }
}
