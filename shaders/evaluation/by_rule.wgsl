// The rule computes one kind of parameters from the other. State and gradients do not change.

fn to_evaluate(place: Place) {
    store_param(place, evaluated(load_param(place), load_state(place), hyper));
}

fn to_train(place: Place) {
    store_param(place, trained(load_param(place), load_state(place), hyper));
}
