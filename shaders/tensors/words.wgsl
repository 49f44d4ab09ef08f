// The table as words.

@group(0) @binding(13) var<storage, read> tensors: array<u32>;

fn tensor_word(i: u32) -> u32 {
    return tensors[i];
}
