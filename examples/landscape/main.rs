mod descent;
mod functions;
fn main() {}
