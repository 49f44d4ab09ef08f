// Sigmoid binary cross-entropy, mean over batch and outputs: max(z, 0) − tz + log(1 + exp(−|z|)).
fn row_loss(begin: u32, end: u32, rows: f32) -> f32 {
    let outputs = f32(end - begin);
    var loss = 0.0;
    for (var i = begin; i < end; i++) {
        let z = answers[i];
        let e = exp(max(-abs(z), -80.0));
        let sigmoid = select(e, 1.0, z >= 0.0) / (1.0 + e);
        loss += max(z, 0.0) - targets[i] * z + log(1.0 + e);
        delta[i] = loss_scale * ((sigmoid - targets[i]) / (rows * outputs));
    }
    return loss / outputs;
}
