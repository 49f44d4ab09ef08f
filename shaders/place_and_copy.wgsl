// Four neighbouring elements: where they begin in each binding, and how many of them exist.
struct Place {
    param: u32,
    grad: u32,
    state: u32,
    count: u32,
    copy: u32,
}
