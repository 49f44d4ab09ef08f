// Gradients in the buffer that holds the parameters, too far from them for one binding. WebGPU
// allows two bindings of one buffer in a dispatch only if both are of one kind.

@group(0) @binding(3) var<storage, read_write> grads: array<StoredGrad>;

fn stored_grad(index: u32) -> StoredGrad {
    return grads[index];
}

fn store_grad(index: u32, value: StoredGrad) {
    grads[index] = value;
}
