//! What tests of checkpoints share.

use std::path::PathBuf;

use wgpu_optim::{Checkpoint, Layout, Optimizer, Options, Rule, Save, cpu};

use super::{Problem, Problems, gpu, submit};

pub fn take(optimizer: &mut Optimizer, problem: &Problem, steps: std::ops::Range<usize>) {
    for step in steps {
        problem.write_step(optimizer, step);
        submit(|encoder| optimizer.step(encoder).unwrap());
    }
}

pub fn bytes(optimizer: &Optimizer) -> Vec<u8> {
    optimizer
        .save_bytes_blocking(&gpu().queue, &Save::default())
        .unwrap()
}

pub fn loaded(mut optimizer: Optimizer, bytes: &[u8]) -> Optimizer {
    let checkpoint = Checkpoint::from_bytes(bytes.to_vec()).unwrap();
    optimizer.load(&gpu().queue, &checkpoint).unwrap();
    optimizer
}

pub fn bytes_of(twin: &cpu::Optimizer<f32>) -> Vec<u8> {
    twin.save_bytes(&Save::default()).unwrap()
}

/// One rule over a matrix and a vector, after a few steps.
pub fn stepped(rule: impl Rule + 'static, options: Options) -> (Problem, Optimizer) {
    let mut layout = Layout::new();
    let group = layout.group(Box::new(rule) as Box<dyn Rule>).unwrap();
    layout.tensor(group, "fc.weight", &[6, 5]).unwrap();
    layout.tensor(group, "fc.bias", &[6]).unwrap();
    let problem = Problem::random(layout, 8, 1);
    let mut optimizer = problem.in_arena(options);
    problem.write_params(&mut optimizer);
    take(&mut optimizer, &problem, 0..4);
    (problem, optimizer)
}

/// A folder of a test's own, removed at its end.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("wgpu-optim-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub fn files(&self) -> usize {
        std::fs::read_dir(&self.0).unwrap().count()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is mounted there cannot be removed.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
