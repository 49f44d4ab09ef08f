//! Steps on a device, against copies of as much memory.

use std::collections::HashMap;
use std::time::Instant;

use anyhow::Result;
use flags::device::describe;
use wgpu_optim::{Formats, Gpu, Layout, Optimizer, Options, rules};

use crate::clock::Clock;
use crate::copies::{self, Copy};
use crate::report::Row;
use crate::statistics::Quartiles;
use crate::streams::Streams;
use crate::workload::Workload;

/// Samples shorter than this are made of several steps.
const SHORTEST_MS: f64 = 1.0;
const MOST_REPETITIONS: f64 = 64.0;

/// Steps recorded to time the recording.
const RECORDED: usize = 101;

pub struct Bench {
    gpu: Gpu,
    clock: Clock,
    rounds: usize,
    /// Which copies were the fastest, by how many arrays are read and written, and their length.
    finalists: HashMap<(usize, usize, usize), [copies::Shape; 2]>,
}

impl Bench {
    pub fn new(gpu: Gpu, rounds: usize) -> Self {
        Self {
            clock: Clock::new(&gpu),
            gpu,
            rounds,
            finalists: HashMap::new(),
        }
    }

    /// The adapter's name, backend and driver.
    pub fn device(&self) -> String {
        describe(&self.gpu.info)
    }

    pub fn name(&self) -> &str {
        &self.gpu.info.name
    }

    pub fn clock(&self) -> &'static str {
        self.clock.name()
    }

    /// A step of `rule` over `workload` and the fastest copy, one after the other in turns.
    pub fn row(&mut self, rule: &str, formats: Formats, workload: &Workload) -> Result<Row> {
        let known = rules::by_name(rule)?;
        let streams = Streams::of(known.as_ref(), &formats);
        let elements = workload.element_count();
        let mut step = self.optimizer(workload.layout(known, formats)?)?;
        let mut one_tensor = match workload.tensor_count() {
            1 => None,
            _ => {
                let layout = workload
                    .as_one_tensor()
                    .layout(rules::by_name(rule)?, formats)?;
                Some(self.optimizer(layout)?)
            }
        };
        let once = self.time(&mut step, 1)?.min(self.time(&mut step, 1)?);
        let repetitions = (SHORTEST_MS / once).clamp(1.0, MOST_REPETITIONS).ceil() as usize;
        let copies = self.copies(streams, streams.copied(elements), repetitions)?;

        let mut times = Vec::new();
        let mut copied = [Vec::new(), Vec::new()];
        let mut one_tensor_ratios = Vec::new();
        for round in 0..self.rounds {
            // The copies and the step, or the other way round.
            let mut time_copies = || -> Result<()> {
                for (copy, times) in copies.iter().zip(&mut copied) {
                    times.push(copy.time(&self.clock, repetitions)? / repetitions as f64);
                }
                Ok(())
            };
            if round % 2 == 0 {
                time_copies()?;
            }
            let stepped = self.time(&mut step, repetitions)?;
            if round % 2 == 1 {
                time_copies()?;
            }
            if let Some(one_tensor) = &mut one_tensor {
                one_tensor_ratios.push(stepped / self.time(one_tensor, repetitions)?);
            }
            times.push(stepped / repetitions as f64);
        }
        let median = |times: &Vec<f64>| Quartiles::of(times.clone()).median;
        let fastest = usize::from(median(&copied[1]) < median(&copied[0]));
        let copy_ratios = copied[fastest].iter().zip(&times);
        let copy_ratios = copy_ratios.map(|(copied, stepped)| copied / stepped);
        let copy_ratio = Quartiles::of(copy_ratios.collect());
        let ms = median(&times);
        let bytes_per_element = streams.bytes_per_element;
        Ok(Row {
            rule: rule.to_owned(),
            format: flags::format::name(&formats),
            size: workload.to_string(),
            elements,
            tensors: workload.tensor_count(),
            device: self.gpu.info.name.clone(),
            ms,
            bytes_per_element,
            gb_per_s: 1e-6 * bytes_per_element * elements as f64 / ms,
            copy_ratio,
            copy: copies[fastest].shape.to_string(),
            one_tensor_ratio: (!one_tensor_ratios.is_empty())
                .then(|| Quartiles::of(one_tensor_ratios)),
            record_us: Some(self.record(&mut step)?),
            others_cpu: None,
        })
    }

    /// With gradients that are not zero, which some devices move faster.
    fn optimizer(&self, layout: Layout) -> Result<Optimizer> {
        let Gpu { device, queue, .. } = &self.gpu;
        let optimizer = Optimizer::new(device, &layout, Options::default())?;
        for tensor in layout.tensors() {
            let count = layout.element_count(tensor)?;
            let grad: Vec<f32> = (0..count)
                .map(|index| (index % 1000) as f32 * 1e-3)
                .collect();
            optimizer.write_grad(queue, tensor, &grad)?;
        }
        queue.submit([]);
        Ok(optimizer)
    }

    /// The two fastest copies of `streams`, with arrays of their own.
    fn copies(
        &mut self,
        streams: Streams,
        elements: usize,
        repetitions: usize,
    ) -> Result<[Copy; 2]> {
        let key = (streams.reads, streams.writes, elements);
        let arrays = copies::arrays(&self.gpu, streams, elements);
        let shapes = match self.finalists.get(&key) {
            Some(shapes) => *shapes,
            None => {
                let clock = &self.clock;
                copies::finalists(&self.gpu, clock, streams, &arrays, elements, repetitions)?
            }
        };
        self.finalists.insert(key, shapes);
        Ok(shapes.map(|shape| Copy::new(&self.gpu, shape, streams, &arrays, elements)))
    }

    /// Milliseconds of that many steps.
    fn time(&self, optimizer: &mut Optimizer, steps: usize) -> Result<f64> {
        self.clock.time(|encoder| {
            for _ in 0..steps {
                optimizer.step(encoder)?;
            }
            Ok(())
        })
    }

    /// Microseconds of the host's time that recording a step takes.
    fn record(&self, optimizer: &mut Optimizer) -> Result<f64> {
        let mut times = Vec::new();
        for _ in 0..RECORDED {
            let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
            let start = Instant::now();
            optimizer.step(&mut encoder)?;
            times.push(1e6 * start.elapsed().as_secs_f64());
        }
        Ok(Quartiles::of(times).median)
    }
}
