// √v, with eps added beside the root or inside it. A constant decides, so only one sum is compiled.
// Twin: `root` in src/rules/mod.rs
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
