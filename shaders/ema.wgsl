// The moving average decay·kept + (1 - decay)·x. `pull` is 1 - decay for a decay of at least 1/2, and
// -decay for a smaller one. So the smaller weight multiplies the difference, and nothing cancels at
// any decay. The sign bit says which it is: a decay of 0 is -0. Twin: src/rule/ema.rs
fn ema(kept: vec4<f32>, x: vec4<f32>, pull: f32) -> vec4<f32> {
    let nearer = select(kept, x, bitcast<i32>(pull) < 0);
    return nearer + pull * (x - kept);
}

fn scalar_ema(kept: f32, x: f32, pull: f32) -> f32 {
    let nearer = select(kept, x, bitcast<i32>(pull) < 0);
    return nearer + pull * (x - kept);
}
