// Gradients in a buffer of their own. They are left as zeros.

@group(0) @binding(3) var<storage, read_write> grads: array<StoredGrad>;

fn stored_grad(index: u32) -> StoredGrad {
    return grads[index];
}

fn store_grad(index: u32, value: StoredGrad) {
    grads[index] = value;
}
