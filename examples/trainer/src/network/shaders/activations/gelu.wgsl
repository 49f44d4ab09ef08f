// GELU in its tanh form: ½z(1 + tanh(√(2/π)(z + 0.044715 z³))). Hendrycks & Gimpel 2016,
// arXiv:1606.08415.

const SQRT_2_OVER_PI = 0.7978845608;

// Beyond ±10 the tanh is ±1 in f32; without the limits z³ and the tanh could overflow.
fn gelu_tanh(z: f32) -> f32 {
    return tanh(clamp(SQRT_2_OVER_PI * (z + 0.044715 * z * z * z), -15.0, 15.0));
}

fn activation(z: f32) -> f32 {
    return 0.5 * z * (1.0 + gelu_tanh(clamp(z, -10.0, 10.0)));
}

fn derivative(z: f32) -> f32 {
    let c = clamp(z, -10.0, 10.0);
    let t = gelu_tanh(c);
    let inner_slope = SQRT_2_OVER_PI * (1.0 + 3.0 * 0.044715 * c * c);
    return 0.5 * (1.0 + t) + 0.5 * c * (1.0 - t * t) * inner_slope;
}
