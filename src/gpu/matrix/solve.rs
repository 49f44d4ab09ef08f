//! The dense Newton systems of a group. This is the host side of `shaders/matrix/solve.wgsl`. The
//! CPU twin is `src/matrix/solve.rs`.

use std::ops::Range;

use bytemuck::{Pod, Zeroable};

use super::batches::{Batch, Needs, batches};
use crate::{
    Error, MOST_UNKNOWNS,
    gpu::{
        answers::GuardedDevice,
        binding::{entry, filled_buffer, whole, zeroed_buffer},
        source::ShaderSource,
        unbound::Unbound,
    },
    matrix::{MATRIX_ENCODING, solve_shader},
    plan::{DispatchLimits, fold},
};

/// One tensor's system of equations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DenseSystem {
    /// First element of its Hessian, which is row-major. Only the lower triangle is read.
    pub hessian: u64,
    /// First element of its gradient. The step replaces the gradient.
    pub start: u64,
    /// Number of unknowns, at most [`MOST_UNKNOWNS`].
    pub count: u32,
}

/// WGSL's `Outcome`, one for each system.
#[derive(Debug, Clone, Copy, Default, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Outcome {
    /// The λ that was used, or 0 if there is no solution.
    pub damping: f32,
    /// Number of factorisations that failed before it.
    pub failures: u32,
    /// 1 if the system, or its solution, has a NaN or an infinity. The step is zero then.
    pub not_finite: u32,
    /// For the shader alone.
    pending: u32,
}

/// Threads of a workgroup for systems of up to that size. Each thread has one row.
const FEW_THREADS: u32 = 32;
const MANY_THREADS: u32 = 256;

/// How many values of λ are tried, from zero up.
const ATTEMPTS: u32 = 48;

/// How many of them one dispatch tries, if the systems are large.
const ATTEMPTS_AT_ONCE: u32 = 8;

/// WGSL's `System`.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct System {
    hessian: u32,
    step: u32,
    factor: u32,
    outcome: u32,
    count: u32,
    damping: f32,
    continues: u32,
    padding: u32,
}

/// Systems with their numbers. They bind windows of Hessians, steps and outcomes, and scratch for
/// factors and for the table of systems.
type SystemBatch = Batch<(u64, DenseSystem), 3, 2>;

/// Batches of systems, each with its number of threads per system.
fn batches_by_threads(
    limits: &DispatchLimits,
    systems: &[DenseSystem],
) -> Result<Vec<(u32, SystemBatch)>, Error> {
    if let Some(system) = systems
        .iter()
        .find(|system| system.count as usize > MOST_UNKNOWNS)
    {
        return Err(Error::Limit {
            what: format!("solving a dense system of {} unknowns", system.count),
            needed: u64::from(system.count),
            limit: "max_compute_invocations_per_workgroup",
            allowed: MOST_UNKNOWNS as u64,
        });
    }
    let mut planned = Vec::new();
    for threads in [FEW_THREADS, MANY_THREADS] {
        let of_threads = (0..)
            .zip(systems.iter().copied())
            .filter(|(_, system)| (system.count <= FEW_THREADS) == (threads == FEW_THREADS));
        let cut = batches(of_threads, limits, |(index, system)| {
            let count = u64::from(system.count);
            let bytes = |elements| MATRIX_ENCODING.bytes(elements);
            let outcome = index * size_of::<Outcome>() as u64;
            Needs {
                ranges: [
                    bytes(system.hessian)..bytes(system.hessian + count * count),
                    bytes(system.start)..bytes(system.start + count),
                    outcome..outcome + size_of::<Outcome>() as u64,
                ],
                sizes: [bytes(factor_count(system)), size_of::<System>() as u64],
                name: format!("solving a dense system of {count} unknowns"),
            }
        });
        planned.extend(cut?.into_iter().map(|batch| (threads, batch)));
    }
    Ok(planned)
}

/// Elements of a system's factor. The right-hand side is its last row.
fn factor_count(system: &DenseSystem) -> u64 {
    let count = u64::from(system.count);
    count * (count + 1)
}

fn factor_bytes(planned: &[(u32, SystemBatch)]) -> u64 {
    let sizes = planned.iter().map(|(_, batch)| batch.sizes[0]);
    sizes.max().unwrap_or(0)
}

/// Bytes of the scratch buffer that [`solve`] makes. Its tables are not counted.
#[cfg(test)]
pub(super) fn scratch_bytes(
    limits: &DispatchLimits,
    systems: &[DenseSystem],
) -> Result<u64, Error> {
    Ok(factor_bytes(&batches_by_threads(limits, systems)?))
}

/// The dispatches that solve `(H + λI) d = g` for each of `systems`. `steps` holds g, and d
/// replaces it. λ begins at `damping`. Each system gets an [`Outcome`].
///
/// # Errors
/// [`Error::Limit`] for a system of more than [`MOST_UNKNOWNS`] or that does not fit a binding;
/// [`Error::OutOfMemory`].
pub(super) fn solve(
    device: &GuardedDevice<'_>,
    limits: &DispatchLimits,
    [hessians, steps, outcomes]: [&wgpu::Buffer; 3],
    systems: &[DenseSystem],
    damping: f64,
) -> Result<Vec<Unbound>, Error> {
    let planned = batches_by_threads(limits, systems)?;
    let mut dispatches = Vec::new();
    if planned.is_empty() {
        return Ok(dispatches);
    }
    let factors = device.guarded("the factors of dense systems", || {
        let storage = wgpu::BufferUsages::STORAGE;
        zeroed_buffer(device, "factors", storage, factor_bytes(&planned))
    })??;
    let widest = u64::from(limits.workgroups_per_dimension);
    for (threads, batch) in &planned {
        let attempts = match *threads {
            FEW_THREADS => ATTEMPTS,
            _ => ATTEMPTS_AT_ONCE,
        };
        let source = ShaderSource::new(solve_shader(*threads, attempts), "solve");
        let size = |range: &Range<u64>| range.end - range.start;
        let [hessian, step, outcome] = &batch.windows;
        for round in 0..ATTEMPTS / attempts {
            let rows = rows(batch, damping as f32, round > 0);
            // This is one dispatch, unless there are more systems than one dispatch may have
            // workgroups.
            for rows in rows.chunks((widest * widest) as usize) {
                let what = "the bindings of dense systems";
                let table = device.guarded(what, || {
                    let storage = wgpu::BufferUsages::STORAGE;
                    let contents = bytemuck::cast_slice(rows);
                    filled_buffer(device, "systems", storage, contents)
                })??;
                let entries = [
                    entry(0, hessians, hessian.start, size(hessian)),
                    entry(1, steps, step.start, size(step)),
                    entry(2, &factors, 0, batch.sizes[0]),
                    entry(3, outcomes, outcome.start, size(outcome)),
                    whole(4, &table),
                ];
                let grid = fold(rows.len() as u64, limits);
                dispatches.push(Unbound::new(&source, what, "dense systems", &entries, grid));
            }
        }
    }
    Ok(dispatches)
}

/// The table of a batch. Its offsets count from the starts of the batch's bindings.
fn rows(batch: &SystemBatch, damping: f32, continues: bool) -> Vec<System> {
    let mut factor = 0;
    let [hessian, step, outcome] = batch.windows.each_ref().map(|window| window.start);
    let row = |(index, system): &(u64, DenseSystem)| {
        let row = System {
            hessian: (system.hessian - MATRIX_ENCODING.elements(hessian)) as u32,
            step: (system.start - MATRIX_ENCODING.elements(step)) as u32,
            factor: factor as u32,
            outcome: (index - outcome / size_of::<Outcome>() as u64) as u32,
            count: system.count,
            damping,
            continues: continues.into(),
            padding: 0,
        };
        factor += factor_count(system);
        row
    };
    batch.items.iter().map(row).collect()
}

#[cfg(test)]
mod tests;
