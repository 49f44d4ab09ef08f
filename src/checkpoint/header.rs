//! The header of a checkpoint: what is where, and the checksums.

use std::{
    collections::BTreeMap,
    io::{self, Read},
};

use safetensors::tensor::{Metadata, TensorInfo};
use serde_json::{Map, Value, json};

use super::{
    contents::Entry,
    description::{Description, VERSION},
};
use crate::Error;

/// The caller's own pairs.
pub(super) type User = BTreeMap<String, String>;

/// Bytes of the length that a file begins with.
const LENGTH: u64 = 8;

/// Most bytes of a header. The format allows no more.
const MOST: u64 = 100_000_000;

/// The beginning of a file: its length and its header. It has the same number of bytes for any
/// `checksums`.
pub(super) fn encoded(
    entries: &[Entry],
    description: &Description,
    user: &User,
    checksums: &[u32],
) -> Result<Vec<u8>, Error> {
    let text = |value: Result<String, serde_json::Error>| {
        value.map_err(|error| Error::Checkpoint {
            what: "the header".to_owned(),
            problem: error.to_string(),
        })
    };
    let by_name = entries.iter().zip(checksums);
    let by_name: BTreeMap<_, _> = by_name
        .map(|(entry, &checksum)| (&entry.name, digits(checksum)))
        .collect();
    let optimizer = text(serde_json::to_string(description))?;
    let user = text(serde_json::to_string(user))?;
    let checksums = text(serde_json::to_string(&by_name))?;
    let checksum = digits(checksum_of_texts([&optimizer, &user, &checksums]));
    let mut header = Map::new();
    let metadata = json!({
        "format": "wgpu-optim",
        "version": VERSION,
        "optimizer": optimizer,
        "user": user,
        "checksums": checksums,
        "checksum": checksum,
    });
    header.insert("__metadata__".to_owned(), metadata);
    let mut start = 0;
    for entry in entries {
        let end = start + entry.bytes();
        let info = json!({
            "dtype": format!("{:?}", entry.dtype),
            "shape": entry.shape,
            "data_offsets": [start, end],
        });
        header.insert(entry.name.clone(), info);
        start = end;
    }
    let mut header = text(serde_json::to_string(&Value::Object(header)))?;
    // The tensors begin at a multiple of eight bytes.
    let padding = header.len().next_multiple_of(8) - header.len();
    header.extend(std::iter::repeat_n(' ', padding));
    let length = header.len() as u64;
    if length > MOST {
        return Err(Error::Checkpoint {
            what: "the header".to_owned(),
            problem: format!("it has {length} bytes; at most {MOST} are allowed"),
        });
    }
    Ok([&length.to_le_bytes(), header.as_bytes()].concat())
}

/// A header that was read and that contradicts neither itself nor the file's length.
#[derive(Debug)]
pub(super) struct Header {
    pub description: Description,
    pub user: User,
    /// Names and places, in the order of the data.
    pub tensors: Vec<(String, TensorInfo)>,
    /// Of each of `tensors`.
    pub checksums: Vec<u32>,
    /// Where the data begin.
    pub data: u64,
}

impl Header {
    /// Reads the header of a file of `length` bytes. Allocates no more than a few times that.
    pub fn read(file: &mut impl Read, length: u64) -> Result<Self, Error> {
        let size = Self::size(file, length)?;
        let mut text = vec![0; size as usize];
        file.read_exact(&mut text).map_err(unreadable)?;
        let metadata = serde_json::from_slice::<Metadata>(&text)
            .map_err(|error| bad("the header", error.to_string()))?;
        // The crate has checked that the tensors lie one after another and have the size of their
        // shape.
        let (data, of_tensors) = (LENGTH + size, metadata.data_len() as u64);
        if data.checked_add(of_tensors) != Some(length) {
            let problem = format!(
                "its header promises {of_tensors} bytes of tensors after {data} bytes; it has {length}"
            );
            return Err(bad("the file", problem));
        }
        let none = Default::default();
        let of_file = metadata.metadata().as_ref().unwrap_or(&none);
        let text = |key: &str| {
            let problem = || format!("it has no {key:?}; expected one that this crate wrote");
            let text = of_file.get(key).map(String::as_str);
            text.ok_or_else(|| bad("the header", problem()))
        };
        let version = text("version")?;
        if text("format")? != "wgpu-optim" || version != VERSION {
            let format = text("format")?;
            let problem = format!(
                "it has format {format:?} of version {version:?}; expected \"wgpu-optim\" of {VERSION:?}"
            );
            return Err(bad("the header", problem));
        }
        let [optimizer, user, checksums] = [text("optimizer")?, text("user")?, text("checksums")?];
        let checksum = checksum_of_texts([optimizer, user, checksums]);
        if text("checksum")? != digits(checksum) {
            let problem = "its checksum does not fit what it says; the file was changed";
            return Err(bad("the header", problem));
        }
        let parsed = |error: serde_json::Error| bad("the header", error.to_string());
        let description = serde_json::from_str(optimizer).map_err(parsed)?;
        let user = serde_json::from_str(user).map_err(parsed)?;
        let by_name: BTreeMap<String, String> = serde_json::from_str(checksums).map_err(parsed)?;
        let mut tensors: Vec<_> = metadata.tensors().into_iter().collect();
        tensors.sort_by_key(|(_, info)| info.data_offsets);
        let checksum = |name: &String| {
            let digits = by_name.get(name);
            let checksum = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
            checksum.ok_or_else(|| bad(format!("tensor {name:?}"), "it has no checksum"))
        };
        let checksums = tensors.iter().map(|(name, _)| checksum(name));
        let checksums = checksums.collect::<Result<_, _>>()?;
        let info = |info: &TensorInfo| TensorInfo {
            dtype: info.dtype,
            shape: info.shape.clone(),
            data_offsets: info.data_offsets,
        };
        let tensors = tensors.into_iter().map(|(name, found)| (name, info(found)));
        Ok(Self {
            description,
            user,
            tensors: tensors.collect(),
            checksums,
            data,
        })
    }

    /// How many bytes the header claims to have, if they are there.
    fn size(file: &mut impl Read, length: u64) -> Result<u64, Error> {
        let mut size = [0; LENGTH as usize];
        if length < LENGTH {
            let problem = format!("it has {length} bytes, too few for a checkpoint");
            return Err(bad("the file", problem));
        }
        file.read_exact(&mut size).map_err(unreadable)?;
        let size = u64::from_le_bytes(size);
        if size > MOST || size > length - LENGTH {
            let problem = format!(
                "it claims a header of {size} bytes; it has {length}, and at most {MOST} are allowed"
            );
            return Err(bad("the file", problem));
        }
        Ok(size)
    }
}

/// A checkpoint that cannot be read.
pub(super) fn bad(what: impl Into<String>, problem: impl Into<String>) -> Error {
    Error::Checkpoint {
        what: what.into(),
        problem: problem.into(),
    }
}

pub(super) fn unreadable(error: io::Error) -> Error {
    bad("the file", format!("it cannot be read: {error}"))
}

fn digits(checksum: u32) -> String {
    format!("{checksum:08x}")
}

/// The CRC-32 of `texts`, each with a line feed after it.
fn checksum_of_texts(texts: [&str; 3]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    for text in texts {
        hasher.update(text.as_bytes());
        hasher.update(b"\n");
    }
    hasher.finalize()
}
