// Gradients stay as they are.

fn leave_grad(place: Place) {
}
