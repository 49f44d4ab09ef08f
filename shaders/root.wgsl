// √v with eps beside it or inside it, in place of a sum with a zero. Twin: `root` in src/rules/mod.rs
fn root(v: vec4<f32>, eps: f32) -> vec4<f32> {
    var radicand = v;
    if EPS_INSIDE_ROOT {
        radicand += eps;
    }
    var root = sqrt(radicand);
    if !EPS_INSIDE_ROOT {
        root += eps;
    }
    return root;
}
