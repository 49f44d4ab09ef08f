// The running mean and the parameters are swapped.

fn to_evaluate(place: Place) {
    let p = load_param(place);
    let average = load_average(place);
    store_param(place, average);
    store_copy(place, average);
    slot_average[place.state / 4u] = bitcast<vec4<u32>>(p);
}

fn to_train(place: Place) {
    to_evaluate(place);
}
