//! Steps of the f32 twin on the CPU, against loops that move as much memory.

use std::time::Instant;

use anyhow::{Result, bail};
use rayon::prelude::*;
use wgpu_optim::{Formats, cpu, rules};

use crate::row::Row;
use crate::statistics::Quartiles;
use crate::streams::Streams;
use crate::workload::Workload;

/// How a copy goes about it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Way {
    threads: usize,
    /// How many elements of each array a thread moves before it turns to the next array.
    chunk: usize,
}

/// Which is the fastest depends on the caches, and on how much there is to do.
fn ways() -> Vec<Way> {
    let chunks = [1 << 9, 1 << 10, 1 << 11, 1 << 12];
    let threads = [rayon::current_num_threads(), 1];
    let ways = threads.map(|threads| chunks.map(|chunk| Way { threads, chunk }));
    ways.concat()
}

/// Elements that are stepped, at least, between two looks at the clock.
const ELEMENTS_PER_SAMPLE: usize = 1 << 22;

/// A step of `rule` over `workload` and a copy, one after the other in turns.
pub fn row(rule: &str, formats: Formats, workload: &Workload, rounds: usize) -> Result<Row> {
    if formats.copy.is_some() {
        bail!("the twin's step writes no copy of the parameters");
    }
    let known = rules::by_name(rule)?;
    let streams = Streams::of(known.as_ref(), &formats);
    let elements = workload.element_count();
    let layout = workload.layout(known, formats)?;
    let mut optimizer = cpu::Optimizer::<f32>::new(&layout)?;
    for tensor in layout.tensors() {
        let grad = optimizer.grad_mut(tensor)?;
        for (index, grad) in grad.iter_mut().enumerate() {
            *grad = (index % 1000) as f32 * 1e-3;
        }
    }
    let repeats = ELEMENTS_PER_SAMPLE.div_ceil(elements);
    let mut copy = Copy::new(streams, streams.copied(elements));
    let way = fastest(&ways(), |way| milliseconds(3 * repeats, || copy.run(way)));
    let mut times = Vec::new();
    let mut ratios = Vec::new();
    for round in 0..=rounds {
        let copied = milliseconds(repeats, || copy.run(way));
        let mut result = Ok(());
        let stepped = milliseconds(repeats, || {
            if result.is_ok() {
                result = optimizer.step();
            }
        });
        result?;
        // The first touches memory for the first time.
        if round > 0 {
            times.push(stepped);
            ratios.push(copied / stepped);
        }
    }
    let ms = Quartiles::of(times).median;
    let bytes_per_element = streams.bytes_per_element;
    Ok(Row {
        rule: rule.to_owned(),
        format: flags::format::name(&formats),
        size: workload.to_string(),
        elements,
        tensors: workload.tensor_count(),
        device: device(),
        ms,
        bytes_per_element,
        gb_per_s: 1e-6 * bytes_per_element * elements as f64 / ms,
        copy_ratio: Quartiles::of(ratios),
        copy: format!("{} × chunks of {}", way.threads, way.chunk),
        one_tensor_ratio: None,
        record_us: None,
        others_cpu: None,
    })
}

pub fn device() -> String {
    format!("CPU, {} threads", rayon::current_num_threads())
}

/// Of one call of `work`, if `repeats` follow each other.
fn milliseconds(repeats: usize, mut work: impl FnMut()) -> f64 {
    let start = Instant::now();
    for _ in 0..repeats {
        work();
    }
    1e3 * start.elapsed().as_secs_f64() / repeats as f64
}

/// The way that takes the least time. Each has two turns, since the first one of all touches memory
/// for the first time.
fn fastest(ways: &[Way], mut time: impl FnMut(Way) -> f64) -> Way {
    let mut best = (f64::INFINITY, ways[0]);
    for &way in ways.iter().chain(ways) {
        let time = time(way);
        if time < best.0 {
            best = (time, way);
        }
    }
    best.1
}

/// Arrays that are read and written, and others that are read alone.
struct Copy {
    written: Vec<Array>,
    read: Vec<Array>,
}

/// By how many elements each array begins later in its page than the one before: at the same place
/// of their pages all would need the same few lines of the nearest cache.
const SHIFT: usize = 256;

struct Array {
    values: Vec<f32>,
    start: usize,
}

impl Array {
    fn new(elements: usize, index: usize) -> Self {
        let start = index * SHIFT;
        Self {
            values: vec![0.5; start + elements],
            start,
        }
    }

    fn values(&self) -> &[f32] {
        &self.values[self.start..]
    }

    fn values_mut(&mut self) -> &mut [f32] {
        &mut self.values[self.start..]
    }
}

/// What one thread moves: a part of each array that is written, and of each that is not.
type Stretch<'a> = (Vec<&'a mut [f32]>, Vec<&'a [f32]>);

impl Copy {
    fn new(streams: Streams, elements: usize) -> Self {
        let array = |index| Array::new(elements, index);
        Self {
            written: (0..streams.writes).map(array).collect(),
            read: (streams.writes..streams.reads).map(array).collect(),
        }
    }

    /// Moves all once.
    fn run(&mut self, Way { threads, chunk }: Way) {
        let elements = self.written[0].values().len();
        let length = elements.div_ceil(threads);
        let mut stretches: Vec<Stretch<'_>> = Vec::new();
        stretches.resize_with(elements.div_ceil(length), Default::default);
        for array in &mut self.written {
            let parts = array.values_mut().chunks_mut(length);
            for (part, (written, _)) in parts.zip(&mut stretches) {
                written.push(part);
            }
        }
        for array in &self.read {
            for (part, (_, read)) in array.values().chunks(length).zip(&mut stretches) {
                read.push(part);
            }
        }
        if let [(written, read)] = &mut stretches[..] {
            return go_through(written, read, chunk);
        }
        let moves = stretches.par_iter_mut();
        moves.for_each(|(written, read)| go_through(written, read, chunk));
    }
}

fn go_through(written: &mut [&mut [f32]], read: &[&[f32]], chunk: usize) {
    let elements = written[0].len();
    for start in (0..elements).step_by(chunk) {
        let here = start..elements.min(start + chunk);
        let Some((first, others)) = written.split_first_mut() else {
            return;
        };
        for array in others {
            array[here.clone()].iter_mut().for_each(|x| *x = -*x);
        }
        for array in read {
            for (x, y) in first[here.clone()].iter_mut().zip(&array[here.clone()]) {
                *x = *y - *x;
            }
        }
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
            bytes_per_element: 20.0,
        };
        let mut copy = Copy::new(streams, 70_001);
        copy.written[0].values_mut().fill(2.0);
        copy.run(Way {
            threads: 3,
            chunk: 1 << 9,
        });
        assert_eq!(copy.written[0].values(), vec![-1.5; 70_001]);
        assert_eq!(copy.written[1].values(), vec![-0.5; 70_001]);
    }

    #[test]
    fn the_fastest_is_found_wherever_it_stands() {
        for best in ways() {
            let time = |way| if way == best { 1.0 } else { 2.0 };
            assert_eq!(fastest(&ways(), time), best);
        }
    }
}
