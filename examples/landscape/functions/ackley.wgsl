// 20 + e − 20·exp(−0.2·r) − exp(½(cos(2πx) + cos(2πy))) with r = √(½(x² + y²))
fn derivatives(p: vec2<f32>) -> Derivatives {
    // WGSL promises sines and cosines up to ±π alone.
    let angle = 2.0 * PI * (p - round(p));
    let sines = sin(angle);
    let cosines = cos(angle);
    let ripples = exp(0.5 * (cosines.x + cosines.y));
    let r = length(p) * sqrt(0.5);
    let cone = exp(-0.2 * min(r, 400.0));
    // At the tip, which has no slope, it counts as flat.
    var ray = vec2(0.0);
    var bend = 0.0;
    if r > 0.0 {
        ray = p / r;
        bend = cone / r;
    }
    let slope = 2.0 * cone * ray + PI * ripples * sines;
    let squares = vec3(ray.x * ray.x, ray.x * ray.y, ray.y * ray.y);
    let of_cone = bend * (vec3(2.0, 0.0, 2.0) - squares) - 0.2 * cone * squares;
    let of_ripples = PI * PI * ripples * vec3(
        2.0 * cosines.x - sines.x * sines.x,
        -sines.x * sines.y,
        2.0 * cosines.y - sines.y * sines.y,
    );
    return Derivatives(22.718281828 - 20.0 * cone - ripples, slope, of_cone + of_ripples);
}
