// −¼ Σ N(p; μ, Σ) of μ = (±2, ±2) and Σ = [[1, ½], [½, 1]]
fn derivatives(p: vec2<f32>) -> Derivatives {
    // ¼ / (2π√det Σ) with det Σ = ¾
    let peak = 0.0459440746;
    var found = Derivatives(0.0, vec2(0.0), vec3(0.0));
    for (var i = 0u; i < 4u; i++) {
        let mean = vec2(select(-2.0, 2.0, (i & 1u) != 0u), select(-2.0, 2.0, (i & 2u) != 0u));
        let d = p - mean;
        // Σ⁻¹d
        let pull = vec2(4.0 * d.x - 2.0 * d.y, 4.0 * d.y - 2.0 * d.x) / 3.0;
        let height = peak * exp(max(-0.5 * dot(d, pull), -80.0));
        found.value -= height;
        found.gradient += height * pull;
        found.hessian += height * vec3(
            4.0 / 3.0 - pull.x * pull.x,
            -2.0 / 3.0 - pull.x * pull.y,
            4.0 / 3.0 - pull.y * pull.y,
        );
    }
    return found;
}
