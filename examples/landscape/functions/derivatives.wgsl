// What a function is at a point. Hessian: xx, xy, yy.
struct Derivatives {
    value: f32,
    gradient: vec2<f32>,
    hessian: vec3<f32>,
}

const PI: f32 = 3.14159265358979;
