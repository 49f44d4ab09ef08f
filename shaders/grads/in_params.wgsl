// Gradients within the binding of the parameters.

fn stored_grad(index: u32) -> StoredGrad {
    return params[index];
}
