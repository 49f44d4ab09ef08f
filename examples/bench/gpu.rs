//! Steps on a device, against copies of as much memory.

use std::cell::RefCell;
use std::collections::HashMap;

use anyhow::Result;
use flags::device::describe;
use wgpu_optim::{Formats, Gpu, Layout, Optimizer, Options, rules, wgpu};

use crate::clock::Clock;
use crate::copies::{self, Arrays, Copy};
use crate::row::Row;
use crate::statistics::Quartiles;
use crate::streams::Streams;
use crate::workload::Workload;

pub struct Bench {
    gpu: Gpu,
    clock: Clock,
    rounds: usize,
    /// Which copies were the fastest, by how many arrays are read and written, and their length.
    finalists: RefCell<HashMap<(usize, usize, usize), [copies::Shape; 2]>>,
}

impl Bench {
    pub fn new(gpu: Gpu, clock: Clock, rounds: usize) -> Self {
        Self {
            gpu,
            clock,
            rounds,
            finalists: RefCell::default(),
        }
    }

    /// The adapter's name, backend and driver.
    pub fn device(&self) -> String {
        describe(&self.gpu.info)
    }

    pub fn name(&self) -> &str {
        &self.gpu.info.name
    }

    pub fn clock(&self) -> &str {
        self.clock.name()
    }

    /// A step of `rule` over `workload` and the fastest copy, one after the other in turns.
    pub async fn row(&self, rule: &str, formats: Formats, workload: &Workload) -> Result<Row> {
        let known = rules::by_name(rule)?;
        let streams = Streams::of(known.as_ref(), &formats);
        let elements = workload.element_count();
        let mut step = self.optimizer(workload.layout(known, formats)?).await?;
        let mut one_tensor = match workload.tensor_count() {
            1 => None,
            _ => {
                let layout = workload
                    .as_one_tensor()
                    .layout(rules::by_name(rule)?, formats)?;
                Some(self.optimizer(layout).await?)
            }
        };
        let repetitions = self.repetitions(&mut step).await?;
        let copied = streams.copied(elements);
        let (copies, _arrays) = self.copies(streams, copied, repetitions).await?;

        let mut times = Vec::new();
        let mut copied = [Vec::new(), Vec::new()];
        let mut one_tensor_ratios = Vec::new();
        for round in 0..self.rounds {
            // The copies and the step, or the other way round.
            let is_copied_first = round % 2 == 0;
            if is_copied_first {
                self.time_copies(&copies, repetitions, &mut copied).await?;
            }
            let stepped = self.time(&mut step, repetitions).await?;
            if !is_copied_first {
                self.time_copies(&copies, repetitions, &mut copied).await?;
            }
            if let Some(one_tensor) = &mut one_tensor {
                one_tensor_ratios.push(stepped / self.time(one_tensor, repetitions).await?);
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
            record_us: Some(self.clock.record(|encoder| Ok(step.step(encoder)?))?),
            others_cpu: None,
        })
    }

    /// With gradients that are not zero, which some devices move faster.
    async fn optimizer(&self, layout: Layout) -> Result<Optimizer> {
        let Gpu { device, queue, .. } = &self.gpu;
        let optimizer = Optimizer::new_async(device, &layout, Options::default()).await?;
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

    /// How many steps make a sample.
    async fn repetitions(&self, step: &mut Optimizer) -> Result<usize> {
        let first = self.time(step, 1).await?;
        let once = first.min(self.time(step, 1).await?);
        let repetitions = self.clock.repetitions(once);
        if repetitions == 1 {
            return Ok(1);
        }
        // What a clock sees of a single step may be mostly the way there and back.
        let several = self.time(step, repetitions).await?;
        Ok(self.clock.repetitions(several / repetitions as f64))
    }

    /// The two fastest copies of `streams`, with arrays of their own.
    async fn copies(
        &self,
        streams: Streams,
        elements: usize,
        repetitions: usize,
    ) -> Result<([Copy; 2], Arrays)> {
        let key = (streams.reads, streams.writes, elements);
        let arrays = copies::arrays(&self.gpu, streams, elements);
        let known = self.finalists.borrow().get(&key).copied();
        let shapes = match known {
            Some(shapes) => shapes,
            None => {
                let (gpu, clock) = (&self.gpu, &self.clock);
                copies::finalists(gpu, clock, streams, &arrays, elements, repetitions).await?
            }
        };
        self.finalists.borrow_mut().insert(key, shapes);
        let copies = shapes.map(|shape| Copy::new(&self.gpu, shape, streams, &arrays, elements));
        Ok((copies, arrays))
    }

    /// A turn of each copy.
    async fn time_copies(
        &self,
        copies: &[Copy; 2],
        repetitions: usize,
        copied: &mut [Vec<f64>; 2],
    ) -> Result<()> {
        for (copy, times) in copies.iter().zip(copied) {
            times.push(copy.time(&self.clock, repetitions).await? / repetitions as f64);
        }
        Ok(())
    }

    /// Milliseconds of that many steps.
    async fn time(&self, optimizer: &mut Optimizer, steps: usize) -> Result<f64> {
        let record = |encoder: &mut wgpu::CommandEncoder| {
            for _ in 0..steps {
                optimizer.step(encoder)?;
            }
            Ok(())
        };
        self.clock.time(record).await
    }
}
