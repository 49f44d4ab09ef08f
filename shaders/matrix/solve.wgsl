// Dense Newton: solves (H + λI) d = g by Cholesky, with one workgroup per system. If the
// factorisation fails, λ grows tenfold. The host puts `const THREADS` and `const ATTEMPTS` before
// this. ATTEMPTS is bounded because on Mesa's software drivers a thread silently leaves its loops
// after 65535 rounds in total. Host side: src/gpu/matrix/solve.rs. Twin: src/matrix/solve.rs.

struct System {
    hessian: u32,       // first element of H, row-major; only its lower triangle is read
    step: u32,          // first element of g, where d goes
    factor: u32,        // first element of the factor
    outcome: u32,
    count: u32,         // unknowns
    damping: f32,       // λ to begin with
    continues: u32,     // 1 in a dispatch that goes on where the one before it stopped
    padding: u32,
}

struct Outcome {
    damping: f32,       // λ that was used
    failures: u32,      // factorisations that failed
    not_finite: u32,    // 1 if there is no solution; the step is zero then
    pending: u32,       // 1 while λ is to be tried next, and the step is still g
}

@group(0) @binding(0) var<storage, read> hessians: array<f32>;
@group(0) @binding(1) var<storage, read_write> steps: array<f32>;
// By columns. The right-hand side is one more row, below the last. The factorisation of (H g; gᵀ ·)
// leaves there what forward substitution would.
@group(0) @binding(2) var<storage, read_write> factor: array<f32>;
@group(0) @binding(3) var<storage, read_write> outcomes: array<Outcome>;
@group(0) @binding(4) var<storage, read> systems: array<System>;

const MOST_UNKNOWNS: u32 = 256u;
const FIRST_DAMPING: f32 = 1e-8;
const MOST_DAMPING: f32 = 1e37;
const EPSILON: f32 = 1.1920929e-7;

var<workgroup> pivot_holds: u32;
var<workgroup> non_finite: array<u32, THREADS>;
var<workgroup> any_non_finite: u32;
var<workgroup> solution: array<f32, MOST_UNKNOWNS>;
var<workgroup> begun: Outcome;

// This looks at bits, because compilers may assume that there is no NaN and no infinity.
fn is_finite(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7f800000u) != 0x7f800000u;
}

// Whether `holds` is true in every thread of the workgroup.
fn all_threads(holds: bool, lane: u32) -> bool {
    non_finite[lane] = select(1u, 0u, holds);
    workgroupBarrier();
    if lane == 0u {
        var any = 0u;
        for (var i = 0u; i < THREADS; i++) {
            any |= non_finite[i];
        }
        any_non_finite = any;
    }
    return workgroupUniformLoad(&any_non_finite) == 0u;
}

fn given_is_finite(system: System, lane: u32) -> bool {
    var holds = true;
    for (var i = lane; i < system.count; i += THREADS) {
        holds = holds && is_finite(steps[system.step + i]);
    }
    for (var row = 0u; row < system.count; row++) {
        for (var column = lane; column <= row; column += THREADS) {
            let at = system.hessian + row * system.count + column;
            holds = holds && is_finite(hessians[at]);
        }
    }
    return holds;
}

// The lower triangle of H, with g below it.
fn given(system: System, row: u32, column: u32) -> f32 {
    if row == system.count {
        return steps[system.step + column];
    }
    return hessians[system.hessian + row * system.count + column];
}

// `given` minus the products with the eight columns from `first` on.
fn without_eight(given: f32, first: u32, pitch: u32, row: u32, column: u32) -> f32 {
    var rest = given;
    rest -= factor[first + row] * factor[first + column];
    rest -= factor[first + pitch + row] * factor[first + pitch + column];
    rest -= factor[first + 2u * pitch + row] * factor[first + 2u * pitch + column];
    rest -= factor[first + 3u * pitch + row] * factor[first + 3u * pitch + column];
    rest -= factor[first + 4u * pitch + row] * factor[first + 4u * pitch + column];
    rest -= factor[first + 5u * pitch + row] * factor[first + 5u * pitch + column];
    rest -= factor[first + 6u * pitch + row] * factor[first + 6u * pitch + column];
    rest -= factor[first + 7u * pitch + row] * factor[first + 7u * pitch + column];
    return rest;
}

// A positive definite matrix has a positive diagonal. This check saves most attempts at a matrix
// that is far from positive definite.
fn diagonal_is_positive(system: System, damping: f32, lane: u32) -> bool {
    var holds = true;
    for (var i = lane; i < system.count; i += THREADS) {
        holds = holds && given(system, i, i) + damping > 0.0;
    }
    return holds;
}

// Computes column after column, each from the columns before it. A pivot is a diagonal element
// minus what the columns before it explain. It has a rounding error of up to n·ε of that element
// for the sum, and 16·ε for the errors that WGSL allows its division and square root. A pivot no
// larger than that error cannot be distinguished from zero.
fn factorise(system: System, damping: f32, lane: u32) -> bool {
    let pitch = system.count + 1u;
    for (var column = 0u; column < system.count; column++) {
        let at = system.factor + column * pitch;
        for (var row = column + lane; row <= system.count; row += THREADS) {
            var rest = given(system, row, column);
            if row == column {
                rest += damping;
            }
            let diagonal = rest;
            // Eight at a time, for fewer rounds. One attempt at 256 unknowns takes 6000.
            var k = 0u;
            for (; k + 8u <= column; k += 8u) {
                rest = without_eight(rest, system.factor + k * pitch, pitch, row, column);
            }
            for (; k < column; k++) {
                let before = system.factor + k * pitch;
                rest -= factor[before + row] * factor[before + column];
            }
            factor[at + row] = rest;
            if row == column {
                let error = (f32(system.count) + 16.0) * EPSILON * diagonal;
                pivot_holds = select(0u, 1u, is_finite(rest) && rest > max(error, 0.0));
            }
        }
        storageBarrier();
        if workgroupUniformLoad(&pivot_holds) == 0u {
            return false;
        }
        let root = sqrt(factor[at + column]);
        // Every thread must read the pivot before it is replaced by its root.
        storageBarrier();
        for (var row = column + lane; row <= system.count; row += THREADS) {
            factor[at + row] = select(factor[at + row] / root, root, row == column);
        }
        storageBarrier();
    }
    return true;
}

// Solves Lᵀ d = y, from the last unknown to the first.
fn substitute_back(system: System, lane: u32) {
    let pitch = system.count + 1u;
    for (var i = lane; i < system.count; i += THREADS) {
        solution[i] = factor[system.factor + i * pitch + system.count];
    }
    for (var remaining = system.count; remaining > 0u; remaining--) {
        let last = remaining - 1u;
        let left = workgroupUniformLoad(&solution[last]);
        let found = left / factor[system.factor + last * pitch + last];
        for (var i = lane; i < last; i += THREADS) {
            solution[i] -= factor[system.factor + i * pitch + last] * found;
        }
        if lane == 0u {
            solution[last] = found;
        }
    }
    workgroupBarrier();
}

// True if `solution` holds one. If not, the outcome says where to continue.
fn solved(system: System, lane: u32, outcome: ptr<function, Outcome>) -> bool {
    for (var attempt = 0u; attempt < ATTEMPTS && (*outcome).damping <= MOST_DAMPING; attempt++) {
        let damping = (*outcome).damping;
        if all_threads(diagonal_is_positive(system, damping, lane), lane)
            && factorise(system, damping, lane) {
            substitute_back(system, lane);
            return true;
        }
        (*outcome).failures += 1u;
        (*outcome).damping = max(10.0 * damping, FIRST_DAMPING);
    }
    return false;
}

@compute @workgroup_size(THREADS)
fn solve(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = workgroup.y * grid.x + workgroup.x;
    if index >= arrayLength(&systems) {
        return;
    }
    let system = systems[index];
    if lane == 0u {
        begun = Outcome(system.damping, 0u, 0u, 1u);
        if system.continues == 1u {
            begun = outcomes[system.outcome];
        }
    }
    var outcome = workgroupUniformLoad(&begun);
    if outcome.pending == 0u {
        return;
    }
    var holds = false;
    if system.continues == 1u || all_threads(given_is_finite(system, lane), lane) {
        holds = solved(system, lane, &outcome);
        if !holds && outcome.damping <= MOST_DAMPING {
            if lane == 0u {
                outcomes[system.outcome] = outcome;
            }
            return;
        }
    }
    // The solution may have overflowed.
    var finite = holds;
    if holds {
        for (var i = lane; i < system.count; i += THREADS) {
            finite = finite && is_finite(solution[i]);
        }
    }
    holds = all_threads(finite, lane);
    for (var i = lane; i < system.count; i += THREADS) {
        var value = 0.0;
        if holds {
            value = solution[i];
        }
        steps[system.step + i] = value;
    }
    if lane == 0u {
        outcome.pending = 0u;
        if !holds {
            outcome = Outcome(0.0, 0u, 1u, 0u);
        }
        outcomes[system.outcome] = outcome;
    }
}
