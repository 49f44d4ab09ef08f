//! Checkpoint files that others could have written.

use serde_json::{Value, json};

/// A file with another header, whose checksums are right.
pub fn forged(bytes: &[u8], change: impl FnOnce(&mut Value, &mut Value, &mut Vec<u8>)) -> Vec<u8> {
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let mut data = bytes[8 + length..].to_vec();
    let text = header["__metadata__"]["optimizer"].as_str().unwrap();
    let mut optimizer: Value = serde_json::from_str(text).unwrap();
    change(&mut header, &mut optimizer, &mut data);
    let mut checksums = serde_json::Map::new();
    for (name, info) in header.as_object().unwrap() {
        let Some(offsets) = info.get("data_offsets") else {
            continue;
        };
        let place = |index: usize| offsets[index].as_u64().unwrap_or(0) as usize;
        let bytes = data.get(place(0)..place(1)).unwrap_or_default();
        checksums.insert(
            name.clone(),
            json!(format!("{:08x}", crc32fast::hash(bytes))),
        );
    }
    let metadata = &mut header["__metadata__"];
    metadata["optimizer"] = json!(optimizer.to_string());
    metadata["checksums"] = json!(Value::Object(checksums).to_string());
    let texts = ["optimizer", "user", "checksums"].map(|key| metadata[key].as_str().unwrap());
    let text = texts.map(|text| format!("{text}\n")).concat();
    metadata["checksum"] = json!(format!("{:08x}", crc32fast::hash(text.as_bytes())));
    let header = header.to_string();
    [
        &(header.len() as u64).to_le_bytes(),
        header.as_bytes(),
        &data,
    ]
    .concat()
}

/// The same file with its tensors in the order of `key` of their names.
pub fn reordered<K: Ord>(bytes: &[u8], key: impl Fn(&str) -> K) -> Vec<u8> {
    forged(bytes, |header, _, data| {
        let tensors = header.as_object_mut().unwrap();
        let mut named: Vec<_> = tensors
            .iter_mut()
            .filter_map(|(name, info)| Some((name.clone(), info.get_mut("data_offsets")?)))
            .collect();
        named.sort_by_key(|(name, _)| key(name));
        let before = std::mem::take(data);
        for (_, offsets) in named {
            let [start, end] = [0, 1].map(|index| offsets[index].as_u64().unwrap() as usize);
            let first = data.len();
            data.extend_from_slice(&before[start..end]);
            *offsets = json!([first, data.len()]);
        }
    })
}

/// Where the tensor `name` lies among the data of a file with this header.
pub fn place_of(header: &Value, name: &str) -> std::ops::Range<usize> {
    let offsets = &header[name]["data_offsets"];
    let [start, end] = [0, 1].map(|index| offsets[index].as_u64().unwrap() as usize);
    start..end
}
