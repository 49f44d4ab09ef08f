// The table as quads, for shaders that read most of a row.

@group(0) @binding(13) var<storage, read> tensors: array<vec4<u32>>;

fn tensor_word(i: u32) -> u32 {
    return tensors[i / 4u][i % 4u];
}
