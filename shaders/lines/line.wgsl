// What the rule computes of four lines.

// What is averaged along a line, of four elements.
fn lines_of(g: vec4<f32>) -> vec4<f32> {
    return vec4<f32>(line(g.x, hyper), line(g.y, hyper), line(g.z, hyper), line(g.w, hyper));
}

fn moved_line(kept: f32, mean: f32) -> f32 {
    return move_line(kept, bounded(mean), hyper, now);
}

fn moved_lines(kept: vec4<f32>, mean: vec4<f32>) -> vec4<f32> {
    return vec4<f32>(
        moved_line(kept.x, mean.x),
        moved_line(kept.y, mean.y),
        moved_line(kept.z, mean.z),
        moved_line(kept.w, mean.w),
    );
}
