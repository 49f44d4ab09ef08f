// Softmax cross-entropy, mean over the batch: log Σ exp(zⱼ) − Σ tⱼzⱼ for targets that sum to 1. The
// largest z is taken out of the exponentials first, so that none overflows and their sum is at
// least 1.
fn row_loss(begin: u32, end: u32, rows: f32) -> f32 {
    var largest = answers[begin];
    for (var i = begin + 1u; i < end; i++) {
        largest = max(largest, answers[i]);
    }
    var sum = 0.0;
    for (var i = begin; i < end; i++) {
        sum += exp(max(answers[i] - largest, -80.0));
    }
    let log_sum = log(sum);
    var loss = 0.0;
    for (var i = begin; i < end; i++) {
        let log_probability = answers[i] - largest - log_sum;
        loss -= targets[i] * log_probability;
        delta[i] = loss_scale * ((exp(max(log_probability, -80.0)) - targets[i]) / rows);
    }
    return loss;
}
