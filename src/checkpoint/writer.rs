//! Writes a checkpoint while its tensors arrive, in slices.

use std::io::{self, Seek, SeekFrom, Write};

use super::{contents::Entry, description::Description, header, last_row::LastRow};
use crate::{Error, Layout, Tensor};

/// What a checkpoint says beside the contents of its tensors.
#[derive(Debug)]
pub(crate) struct Outline {
    pub entries: Vec<Entry>,
    pub description: Description,
    pub user: header::User,
}

/// Where a checkpoint is written to, and the checksums so far.
pub(crate) struct Writer<'a, W> {
    out: W,
    outline: &'a Outline,
    checksums: Vec<u32>,
    /// Of the tensor that is being written.
    hasher: crc32fast::Hasher,
    written: usize,
    row: LastRow,
}

impl<'a, W: Write + Seek> Writer<'a, W> {
    /// Leaves room for the header, which has checksums in it and so comes last.
    pub fn new(mut out: W, outline: &'a Outline) -> Result<Self, Error> {
        let placeholders = vec![0; outline.entries.len()];
        let header = outline.header(&placeholders)?;
        out.write_all(&vec![0; header.len()]).map_err(unwritable)?;
        Ok(Self {
            out,
            outline,
            checksums: Vec::new(),
            hasher: crc32fast::Hasher::new(),
            written: 0,
            row: LastRow::default(),
        })
    }

    /// The next bytes of the tensors, in the order of the entries.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        let outline = self.outline;
        while !bytes.is_empty() {
            let entry = outline.entries.get(self.checksums.len());
            let left = entry.map_or(bytes.len(), |entry| entry.bytes() - self.written);
            let (now, later) = bytes.split_at(left.min(bytes.len()));
            let (before, row) = match entry {
                Some(entry) => self.row.take(entry, self.written, now),
                None => (now, None),
            };
            self.put(before)?;
            if let Some(row) = row {
                self.put(&row)?;
            }
            self.written += now.len();
            if now.len() == left {
                let hasher = std::mem::take(&mut self.hasher);
                self.checksums.push(hasher.finalize());
                self.written = 0;
            }
            bytes = later;
        }
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.out.write_all(bytes).map_err(unwritable)?;
        self.hasher.update(bytes);
        Ok(())
    }

    /// Writes the header.
    pub fn finish(mut self) -> Result<W, Error> {
        let header = self.outline.header(&self.checksums)?;
        self.out.seek(SeekFrom::Start(0)).map_err(unwritable)?;
        self.out.write_all(&header).map_err(unwritable)?;
        self.out.flush().map_err(unwritable)?;
        Ok(self.out)
    }
}

impl Outline {
    /// The bytes of `step` of `tensor`.
    pub fn step_of(&self, layout: &Layout, tensor: Tensor) -> [u8; 4] {
        let group = layout.tensors[tensor.0].group;
        (self.description.groups[group.0].performed as f32).to_le_bytes()
    }

    /// Memory for the whole file.
    pub fn reserved(&self) -> Result<Vec<u8>, Error> {
        let (mut memory, bytes) = (Vec::new(), self.bytes()?);
        let reserved = memory.try_reserve_exact(bytes);
        reserved.map_err(|_| Error::OutOfMemory {
            what: format!("a checkpoint of {bytes} bytes"),
        })?;
        Ok(memory)
    }

    /// How many bytes the whole file has.
    fn bytes(&self) -> Result<usize, Error> {
        let header = self.header(&vec![0; self.entries.len()])?.len();
        let tensors: usize = self.entries.iter().map(Entry::bytes).sum();
        Ok(header + tensors)
    }

    fn header(&self, checksums: &[u32]) -> Result<Vec<u8>, Error> {
        header::encoded(&self.entries, &self.description, &self.user, checksums)
    }
}

fn unwritable(error: io::Error) -> Error {
    Error::Checkpoint {
        what: "the file".to_owned(),
        problem: format!("it cannot be written: {error}"),
    }
}
