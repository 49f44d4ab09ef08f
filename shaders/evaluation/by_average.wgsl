// The running mean and the parameters are swapped.

fn to_evaluate(place: Place) {
    let p = load_param(place);
    store_param(place, load_average(place));
    slot_average[place.state / 4u] = p;
}

fn to_train(place: Place) {
    to_evaluate(place);
}
