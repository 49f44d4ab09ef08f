//! Steps of the f32 twin on the CPU, against loops that move as much memory.

use std::time::Instant;

use anyhow::Result;
use rayon::prelude::*;
use wgpu_optim::{cpu, rules};

use crate::report::Row;
use crate::statistics::Quartiles;
use crate::streams::Streams;
use crate::workload::Workload;

/// Elements that a thread moves at a time.
const CHUNK: usize = 1 << 14;

/// A step of `rule` over `workload` and a copy, one after the other in turns.
pub fn row(rule: &str, workload: &Workload, rounds: usize) -> Result<Row> {
    let known = rules::by_name(rule)?;
    let streams = Streams::of(known.as_ref());
    let elements = workload.element_count();
    let layout = workload.layout(known)?;
    let mut optimizer = cpu::Optimizer::<f32>::new(&layout)?;
    for tensor in layout.tensors() {
        let grad = optimizer.grad_mut(tensor)?;
        for (index, grad) in grad.iter_mut().enumerate() {
            *grad = (index % 1000) as f32 * 1e-3;
        }
    }
    let mut copy = Copy::new(streams, elements);
    let mut times = Vec::new();
    let mut ratios = Vec::new();
    for round in 0..rounds + 2 {
        let copied = copy.time();
        let start = Instant::now();
        optimizer.step()?;
        let stepped = 1e3 * start.elapsed().as_secs_f64();
        // The first touch memory for the first time.
        if round >= 2 {
            times.push(stepped);
            ratios.push(copied / stepped);
        }
    }
    let ms = Quartiles::of(times).median;
    let bytes_per_element = streams.bytes_per_element();
    Ok(Row {
        rule: rule.to_owned(),
        format: "f32",
        size: workload.to_string(),
        elements,
        tensors: workload.tensor_count(),
        device: device(),
        ms,
        bytes_per_element,
        gb_per_s: 1e-6 * (bytes_per_element * elements) as f64 / ms,
        copy_ratio: Quartiles::of(ratios),
        copy: format!("chunks of {CHUNK}"),
        one_tensor_ratio: None,
        record_us: None,
    })
}

pub fn device() -> String {
    format!("CPU, {} threads", rayon::current_num_threads())
}

/// What one thread moves at a time: a part of each array that is written, and of each that is not.
type Chunk<'a> = (Vec<&'a mut [f32]>, Vec<&'a [f32]>);

/// Arrays that are read and written, and others that are read alone.
struct Copy {
    written: Vec<Vec<f32>>,
    read: Vec<Vec<f32>>,
}

impl Copy {
    fn new(streams: Streams, elements: usize) -> Self {
        let arrays = |count| vec![vec![0.5; elements]; count];
        Self {
            written: arrays(streams.writes),
            read: arrays(streams.reads - streams.writes),
        }
    }

    /// Milliseconds of moving all once.
    fn time(&mut self) -> f64 {
        let start = Instant::now();
        let mut chunks: Vec<Chunk<'_>> = Vec::new();
        for array in &mut self.written {
            for (index, chunk) in array.chunks_mut(CHUNK).enumerate() {
                if index == chunks.len() {
                    chunks.push(Default::default());
                }
                chunks[index].0.push(chunk);
            }
        }
        for array in &self.read {
            for (chunk, (_, read)) in array.chunks(CHUNK).zip(&mut chunks) {
                read.push(chunk);
            }
        }
        chunks.par_iter_mut().for_each(|(written, read)| {
            for array in written.iter_mut().skip(1) {
                array.iter_mut().for_each(|x| *x = -*x);
            }
            for read in read {
                for (x, y) in written[0].iter_mut().zip(read.iter()) {
                    *x = *y - *x;
                }
            }
        });
        1e3 * start.elapsed().as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_copy_changes_every_element_of_what_is_written() {
        let streams = Streams {
            reads: 3,
            writes: 2,
        };
        let mut copy = Copy::new(streams, CHUNK + 1);
        copy.written[0].fill(2.0);
        copy.time();
        assert_eq!(copy.written[0], vec![-1.5; CHUNK + 1]);
        assert_eq!(copy.written[1], vec![-0.5; CHUNK + 1]);
    }
}
