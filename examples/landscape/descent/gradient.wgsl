// The gradient at each point, for the optimizer's step to come, and a record of where the point is.

struct Course {
    // Among all points.
    first: u32,
    count: u32,
    all_points: u32,
    dimensions: u32,
    seed: u32,
    sigma: f32,
}

struct Moment {
    // Of the step that the gradient is for, from 1.
    step: u32,
    // Where positions go; all ones if nowhere.
    slot: u32,
}

struct Place {
    // First elements.
    param: u32,
    grad: u32,
    // Number of its start.
    start: u32,
}

@group(0) @binding(0) var<uniform> course: Course;
@group(0) @binding(1) var<uniform> moment: Moment;
@group(0) @binding(2) var<storage, read> places: array<Place>;
@group(0) @binding(3) var<storage, read> params: array<f32>;
@group(0) @binding(4) var<storage, read_write> grads: array<f32>;
@group(0) @binding(5) var<storage, read_write> hessians: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> positions: array<vec2<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= course.count {
        return;
    }
    let place = places[id.x];
    var p = vec2(params[place.param], 0.0);
    if course.dimensions == 2u {
        p.y = params[place.param + 1u];
    }
    let found = derivatives(p);
    var gradient = found.gradient;
    if course.sigma > 0.0 {
        gradient += course.sigma * normals(course.seed, moment.step, place.start);
    }
    grads[place.grad] = gradient.x;
    if course.dimensions == 2u {
        grads[place.grad + 1u] = gradient.y;
    }
    let point = course.first + id.x;
    hessians[point] = vec4(found.hessian, 0.0);
    if moment.slot != 0xffffffffu {
        positions[moment.slot * course.all_points + point] = p;
    }
}
