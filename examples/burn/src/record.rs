//! An optimizer's state as a record of burn's, and back.
//!
//! Burn makes records of optimizers from its own file format alone. One here holds a single tensor
//! of bytes: the file that wgpu-optim writes, which has state in any format, step counts and the
//! loss scale. What belongs to the module's paths is among that file's texts.

use std::collections::BTreeMap;

use burn::module::ParamId;
use burn::optim::OptimizerRecord;
use burn::tensor::{Bytes, DType};
use wgpu_optim::Checkpoint;

use crate::Error;
use crate::groups::Specs;
use crate::roster::{Member, Roster};

/// The name of the tensor.
const NAME: &str = "wgpu_optim";

/// Of no parameter: burn asks each tensor of a record for one.
const NO_PARAM: u64 = 0;

/// What is written of each member, beside what the optimizer writes: `group|shape|path`.
pub(crate) fn texts(roster: &Roster) -> BTreeMap<String, String> {
    let of_member = |(position, member): (usize, &Member)| {
        let group = member.group?;
        let shape: Vec<_> = member.shape.iter().map(usize::to_string).collect();
        let text = format!("{position}|{group}|{}|{}", shape.join(","), member.path);
        Some((member.name(), text))
    };
    roster
        .members
        .iter()
        .enumerate()
        .filter_map(of_member)
        .collect()
}

/// A record of a file of wgpu-optim's.
pub(crate) fn of_file(file: Vec<u8>) -> Result<OptimizerRecord, Error> {
    let shape = [file.len()];
    let bytes = Bytes::from_bytes_vec(file);
    let tensor = burn_pack::Tensor::new(NAME.to_owned(), DType::U8, shape, Some(NO_PARAM), bytes);
    let packed = burn_pack::Writer::new(vec![tensor]).into_bytes();
    let packed = packed.map_err(Error::record)?;
    OptimizerRecord::from_bytes(packed).map_err(Error::record)
}

/// The file of wgpu-optim's in a record. An empty record has none.
pub(crate) fn file_of(record: OptimizerRecord) -> Result<Option<Vec<u8>>, Error> {
    if record.is_empty() {
        return Ok(None);
    }
    let packed = record.into_bytes().map_err(Error::record)?;
    let reader = burn_pack::Reader::from_bytes(packed).map_err(Error::record)?;
    if !reader.tensor_names().contains(&NAME) {
        return Err(Error::record(
            "it is of another optimizer; expected one that FusedOptimizer::to_record made",
        ));
    }
    reader.tensor_data(NAME).map(Some).map_err(Error::record)
}

/// The members of a checkpoint, whose state it has.
pub(crate) fn roster_of(checkpoint: &Checkpoint, specs: &Specs) -> Result<Roster, Error> {
    let mut members = Vec::new();
    for (name, text) in checkpoint.user() {
        let member = member_of(name, text, specs);
        members.push(member.ok_or_else(|| {
            Error::record(format!(
                "its entry {name:?} is {text:?}; expected number|group|shape|path"
            ))
        })?);
    }
    members.sort_by_key(|&(position, _)| position);
    Ok(Roster::new(
        members.into_iter().map(|(_, member)| member).collect(),
    ))
}

fn member_of(name: &str, text: &str, specs: &Specs) -> Option<(usize, Member)> {
    let id = ParamId::from(name.parse::<u64>().ok()?);
    let mut parts = text.splitn(4, '|');
    let position = parts.next()?.parse().ok()?;
    let group = Some(parts.next()?.parse().ok()?);
    let shape = parts.next()?.split(',').filter(|part| !part.is_empty());
    let shape = shape.map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let path = parts.next()?.to_owned();
    let member = Member {
        id,
        shape,
        spec: specs.of(id, &path),
        path,
        storage: None,
        group,
    };
    Some((position, member))
}
