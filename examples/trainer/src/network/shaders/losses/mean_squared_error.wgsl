// Mean squared error over batch and outputs.
fn row_loss(begin: u32, end: u32, rows: f32) -> f32 {
    let outputs = f32(end - begin);
    var loss = 0.0;
    for (var i = begin; i < end; i++) {
        let difference = answers[i] - targets[i];
        loss += difference * difference;
        delta[i] = loss_scale * (2.0 * difference / (rows * outputs));
    }
    return loss / outputs;
}
