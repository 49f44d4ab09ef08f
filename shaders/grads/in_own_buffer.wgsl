// Gradients in a buffer of their own.

@group(0) @binding(3) var<storage, read> grads: array<StoredGrad>;

fn stored_grad(index: u32) -> StoredGrad {
    return grads[index];
}

// For gradients that are zeroed, see in_own_buffer_zeroed.wgsl.
fn store_grad(index: u32, value: StoredGrad) {
}
