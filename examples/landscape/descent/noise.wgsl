// Normal noise that is the same to the bit on every device: whole numbers up to one exact conversion.

// PCG4D. Jarzynski & Olano 2020, "Hash Functions for GPU Rendering".
fn pcg4d(start: vec4<u32>) -> vec4<u32> {
    var v = start * 1664525u + 1013904223u;
    v.x += v.y * v.w;
    v.y += v.z * v.x;
    v.z += v.x * v.y;
    v.w += v.y * v.z;
    v ^= v >> vec4(16u);
    v.x += v.y * v.w;
    v.y += v.z * v.x;
    v.z += v.x * v.y;
    v.w += v.y * v.z;
    return v;
}

// The two 16-bit halves of each word, added.
fn halves(words: vec4<u32>) -> vec4<u32> {
    return (words & vec4(0xffffu)) + (words >> vec4(16u));
}

// Each the sum of twelve uniform numbers of 16 bits.
fn normals(seed: u32, step: u32, start: u32) -> vec2<f32> {
    let a = halves(pcg4d(vec4(seed, step, start, 0u)));
    let b = halves(pcg4d(vec4(seed, step, start, 1u)));
    let c = halves(pcg4d(vec4(seed, step, start, 2u)));
    let sums = vec2(a.x + a.y + a.z + a.w + b.x + b.y, b.z + b.w + c.x + c.y + c.z + c.w);
    return vec2<f32>(vec2<i32>(2u * sums) - 12 * 65535) / 131072.0;
}
