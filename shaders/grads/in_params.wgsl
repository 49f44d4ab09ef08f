// Gradients within the binding of the parameters.

fn stored_grad(index: u32) -> StoredGrad {
    return params[index];
}

fn store_grad(index: u32, value: StoredGrad) {
    params[index] = value;
}
