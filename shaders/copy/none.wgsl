// There is no copy of the parameters.

fn store_copy(place: Place, p: vec4<f32>) {
}
