// The rule computes one kind of parameters from the other. State and gradients do not change.

fn to_evaluate(place: Place) {
    let p = evaluated(load_param(place), load_state(place), hyper);
    store_param(place, p);
    store_copy(place, p);
}

fn to_train(place: Place) {
    let p = trained(load_param(place), load_state(place), hyper);
    store_param(place, p);
    store_copy(place, p);
}
