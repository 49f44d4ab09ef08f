//! A checkpoint that was opened and whose every byte was checked.

use std::{
    collections::HashMap,
    io::{Cursor, Read, Seek, SeekFrom},
    sync::{Mutex, PoisonError},
};

use safetensors::{Dtype, tensor::TensorInfo};

use super::header::{Header, User, bad, unreadable};
use crate::{Error, memory::reserve};

/// Bytes that are read or written at once.
pub(crate) const SLICE: usize = 8 << 20;

/// A file that [`Optimizer::save`](crate::Optimizer::save) or its twin's
/// [`save`](crate::cpu::Optimizer::save) wrote. It has been read through once, and its checksums are
/// right. What it holds is read when it is loaded, in slices.
///
/// ```
/// # use wgpu_optim::{Checkpoint, Layout, Save, cpu, rules::Sgd};
/// # let mut layout = Layout::new();
/// # let group = layout.group(Sgd::default())?;
/// # layout.tensor(group, "weight", &[2, 2])?;
/// # let optimizer = cpu::Optimizer::<f32>::new(&layout)?;
/// let save = Save { user: [("epoch".into(), "7".into())].into(), ..Default::default() };
/// let bytes = optimizer.save_bytes(&save)?;
/// let checkpoint = Checkpoint::from_bytes(bytes)?;
/// assert_eq!(checkpoint.user()["epoch"], "7");
/// assert!(checkpoint.names().any(|name| name == "model.weight"));
/// # Ok::<(), wgpu_optim::Error>(())
/// ```
pub struct Checkpoint {
    pub(super) header: Header,
    /// The values of the scalars that PyTorch calls `step`, by name.
    pub(super) steps: HashMap<String, f32>,
    source: Mutex<Box<dyn Source>>,
}

trait Source: Read + Seek + Send {}
impl<S: Read + Seek + Send> Source for S {}

impl std::fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Checkpoint")
            .field("user", &self.header.user)
            .field("tensors", &self.header.tensors.len())
            .finish_non_exhaustive()
    }
}

impl Checkpoint {
    /// Opens the checkpoint at `path`. The file may be replaced afterwards: this keeps the old one.
    ///
    /// # Errors
    /// [`Error::File`] if the file cannot be opened; [`Error::Checkpoint`] if it is no checkpoint, is
    /// cut short or was changed. It names the tensor whose bytes are wrong.
    #[cfg(not(target_family = "wasm"))]
    pub fn open(path: impl AsRef<std::path::Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let refused = |error: std::io::Error| Error::File {
            path: path.to_owned(),
            message: error.to_string(),
        };
        let file = std::fs::File::open(path).map_err(refused)?;
        let metadata = file.metadata().map_err(refused)?;
        if !metadata.is_file() {
            return Err(Error::File {
                path: path.to_owned(),
                message: "it is no file".to_owned(),
            });
        }
        Self::from_source(file, metadata.len())
    }

    /// The checkpoint in `bytes`.
    ///
    /// # Errors
    /// [`Error::Checkpoint`], as for [`open`](Self::open).
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, Error> {
        let length = bytes.len() as u64;
        Self::from_source(Cursor::new(bytes), length)
    }

    fn from_source(mut source: impl Source + 'static, length: u64) -> Result<Self, Error> {
        let header = Header::read(&mut source, length)?;
        let mut checkpoint = Self {
            header,
            steps: HashMap::new(),
            source: Mutex::new(Box::new(source)),
        };
        checkpoint.steps = checkpoint.verify()?;
        Ok(checkpoint)
    }

    /// What the caller saved beside the optimizer: [`Save::user`](super::Save::user).
    pub fn user(&self) -> &User {
        &self.header.user
    }

    /// The names of all tensors in the file: `model.<tensor>`, `residual.<tensor>`, `ema.<tensor>`,
    /// `state.<tensor>.<slot>` and `state.<tensor>.step`.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.header.tensors.iter().map(|(name, _)| name.as_str())
    }

    /// The type of the numbers of the tensor number `index`.
    pub(crate) fn dtype(&self, index: usize) -> Dtype {
        self.info(index).dtype
    }

    pub(super) fn info(&self, index: usize) -> &TensorInfo {
        &self.header.tensors[index].1
    }

    /// Reads all, compares the checksums, and returns the values of `step`.
    fn verify(&self) -> Result<HashMap<String, f32>, Error> {
        let mut hasher = crc32fast::Hasher::new();
        let mut steps = HashMap::new();
        let all: Vec<_> = (0..self.header.tensors.len()).collect();
        self.read(&all, |index, start, bytes| {
            let (name, info) = &self.header.tensors[index];
            hasher.update(bytes);
            if let (Ok(step), true) = (bytes.try_into(), name.ends_with(".step")) {
                steps.insert(name.clone(), f32::from_le_bytes(step));
            }
            let (first, end) = info.data_offsets;
            if start + bytes.len() == end - first {
                let found = std::mem::take(&mut hasher).finalize();
                if found != self.header.checksums[index] {
                    let problem = "its bytes do not fit its checksum; the file was changed";
                    return Err(bad(format!("tensor {name:?}"), problem));
                }
            }
            Ok(())
        })?;
        Ok(steps)
    }

    /// Gives the bytes of the tensors number `indices`, in slices: with the position in `indices`, the
    /// slice's first byte in its tensor, and the slice.
    pub(crate) fn read(
        &self,
        indices: &[usize],
        mut each: impl FnMut(usize, usize, &[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
        let mut slice = Vec::new();
        let mut at = None;
        for (position, &index) in indices.iter().enumerate() {
            let (start, end) = self.info(index).data_offsets;
            let mut done = start;
            if at != Some(start) {
                let start = self.header.data + start as u64;
                source.seek(SeekFrom::Start(start)).map_err(unreadable)?;
            }
            while done < end {
                let now = SLICE.min(end - done);
                reserve(&mut slice, now, "bytes of a file")?;
                slice.resize(now, 0);
                source.read_exact(&mut slice).map_err(unreadable)?;
                each(position, done - start, &slice)?;
                done += now;
            }
            at = Some(end);
        }
        Ok(())
    }
}
