// The size of a tensor. Twin: Shape in src/rule/twin.rs
struct Shape {
    count: f32,         // its elements
    rows: f32,          // its last dimension but one; 1 if it has fewer than two
    columns: f32,       // its last dimension; 1 if it has none
}
