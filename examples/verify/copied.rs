//! A rule whose parameters have a copy of 16 bits: the parameters held against the twins like any in f32, and each
//! element of the copy against its parameter.

use anyhow::Result;
use wgpu_optim::{Format, Formats, Gpu, Optimizer, Options, cpu, read_blocking};

use crate::around;
use crate::check::{Row, STEPS, check_problem};
use crate::place::Place;
use crate::problem::Problem;
use crate::subject::OnGpu;
use crate::variant::Variant;

/// Around a quad, a workgroup and more, odd ones too.
const SIZES: [usize; 5] = [20_001, 5, 64, 257, 1025];

/// What a copy must be.
pub const DESCRIPTION: &str = "of a copy of the parameters (f32+f16, f32+bf16) each element must be the nearest to its parameter";

/// A rule by itself, with a copy in this format.
pub struct Copied {
    pub variant: Variant,
    pub formats: Formats,
}

impl Copied {
    /// In each format that a copy may have, if `rule` is the one of its kind that is checked.
    pub fn all_of(rule: &'static str) -> Vec<Self> {
        if !around::rules().contains(&rule) {
            return Vec::new();
        }
        let of_format = |copy: &Format| Self {
            variant: Variant {
                rule,
                settings: Vec::new(),
            },
            formats: Formats {
                copy: Some(*copy),
                ..Formats::default()
            },
        };
        Formats::COPIES.iter().map(of_format).collect()
    }

    /// In f64, in f32 and, if there is one, on the GPU.
    pub fn check(&self, gpu: Option<&Gpu>) -> Result<Row> {
        self.check_sizes(&SIZES, gpu)
    }

    fn check_sizes(&self, sizes: &[usize], gpu: Option<&Gpu>) -> Result<Row> {
        let problem = Problem::with_formats(self.variant.build()?, self.formats, sizes, STEPS)?;
        let mut row = check_problem(&problem, self.variant.label(), &Options::default(), gpu)?;
        let places = [
            (Place::Arenas, ""),
            (Place::Ranges, "in a caller's ranges "),
        ];
        for (place, name) in places {
            let Some(gpu) = gpu else { break };
            let optimizer = stepped(&problem, gpu, place)?;
            let off = off(&problem, gpu, &optimizer)?;
            if off > 0 {
                row.failures.push(format!(
                    "{name}{off} elements of the copy are not the nearest to their parameters"
                ));
            }
        }
        row.ok = row.failures.is_empty();
        Ok(row)
    }
}

/// An optimizer on the device after all steps.
fn stepped(problem: &Problem, gpu: &Gpu, place: Place) -> Result<Optimizer> {
    let (device, layout, options) = (&gpu.device, &problem.layout, Options::default());
    let mut optimizer = match place.buffers(problem, device)? {
        Some(buffers) => Optimizer::over(device, layout, buffers, options)?,
        None => Optimizer::new(device, layout, options)?,
    };
    let subject = &mut OnGpu {
        gpu,
        optimizer: &mut optimizer,
    };
    problem.replay(subject, |_, _| Ok(()))?;
    Ok(optimizer)
}

/// How many elements of the copies are others than the twin makes of the same parameters.
fn off(problem: &Problem, gpu: &Gpu, optimizer: &Optimizer) -> Result<usize> {
    let mut twin = cpu::Optimizer::<f32>::new(&problem.layout)?;
    let mut off = 0;
    for tensor in problem.layout.tensors() {
        let params = optimizer.read_param_blocking(&gpu.queue, tensor)?;
        twin.param_mut(tensor)?.copy_from_slice(&params);
        let expected = twin.param_copy(tensor)?;
        let range = optimizer.param_copy(tensor)?;
        let words = read_blocking(&gpu.device, &gpu.queue, &range)?;
        let found: &[u8] = bytemuck::cast_slice(&words);
        // What fills up the last word is no element.
        let halves = found.chunks(2).zip(expected.chunks(2));
        off += halves
            .take(params.len())
            .filter(|(found, expected)| found != expected)
            .count();
    }
    Ok(off)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wgpu_optim::{GpuOptions, rules};

    #[test]
    fn one_rule_of_each_kind_has_a_row_for_each_format_of_a_copy() {
        let all: Vec<_> = rules::names().flat_map(Copied::all_of).collect();
        assert_eq!(
            all.len(),
            around::rules().len() * Formats::COPIES.len(),
            "of {}",
            rules::names().count()
        );
        let labels = |rule| -> Vec<_> {
            let all = Copied::all_of(rule).into_iter();
            all.map(|copied| flags::format::name(&copied.formats))
                .collect()
        };
        assert_eq!(labels("sgd"), ["f32+f16", "f32+bf16"]);
    }

    #[test]
    fn every_copy_is_right_on_the_device_of_the_tests() {
        let gpu = Gpu::open_blocking(&GpuOptions::default()).unwrap();
        for copied in rules::names().flat_map(Copied::all_of) {
            let row = copied.check_sizes(&[64, 5, 1025], Some(&gpu)).unwrap();
            assert!(row.ok && row.gpu_error.is_some(), "{row:?}");
            assert_eq!(row.format, flags::format::name(&copied.formats));
        }
    }

    #[test]
    fn a_copy_of_other_parameters_is_found_out() {
        let gpu = Gpu::open_blocking(&GpuOptions::default()).unwrap();
        for copied in Copied::all_of("sgd") {
            let rule = copied.variant.build().unwrap();
            let problem = Problem::with_formats(rule, copied.formats, &[64, 5], 2).unwrap();
            for place in [Place::Arenas, Place::Ranges] {
                let optimizer = stepped(&problem, &gpu, place).unwrap();
                assert_eq!(off(&problem, &gpu, &optimizer).unwrap(), 0);
                // Past the optimizer, so no copy follows.
                let tensor = problem.layout.tensors().last().unwrap();
                let range = optimizer.param(tensor).unwrap();
                wgpu_optim::write(&gpu.device, &gpu.queue, &range, &[1e3; 5]).unwrap();
                assert_eq!(off(&problem, &gpu, &optimizer).unwrap(), 5, "{place:?}");
            }
        }
    }

    #[test]
    fn without_a_device_the_twin_in_f32_is_put_to_the_test() {
        let row = Copied::all_of("sgd")[0].check(None).unwrap();
        assert!(row.ok && row.gpu_error.is_none(), "{row:?}");
    }
}
