//! Saving the twin, and loading it.

use std::{
    borrow::Cow,
    io::{Cursor, Seek, Write},
};

use super::{
    Optimizer,
    bytes::{as_f32, store},
    group::{GroupState, Tally},
};
#[cfg(not(target_family = "wasm"))]
use crate::checkpoint::replace;
use crate::{
    Checkpoint, Error, Loaded, Save,
    checkpoint::{
        Description, Dtype, Entry, Matching, Outline, Part, Writer, entries, exact, params, partial,
    },
    format::Encoding,
    memory::reserve,
    options::AVERAGE,
    progress::{Past, Skips},
    rule::Real,
};

impl<T: Real> Optimizer<T> {
    /// Writes all of the optimizer to the file `path`, or leaves the file that is there as it is. The
    /// GPU's optimizer reads it too, if the numbers are f32.
    ///
    /// ```
    /// use wgpu_optim::{Checkpoint, Layout, Save, cpu, rules::AdamW};
    ///
    /// # let path = std::env::temp_dir().join(format!("twin-{}.safetensors", std::process::id()));
    /// let mut layout = Layout::new();
    /// let group = layout.group(AdamW::default())?;
    /// let weight = layout.tensor(group, "weight", &[2, 2])?;
    /// let mut optimizer = cpu::Optimizer::<f32>::new(&layout)?;
    /// optimizer.grad_mut(weight)?.fill(1.0);
    /// optimizer.step()?;
    /// optimizer.save(&path, &Save::default())?;
    ///
    /// let mut resumed = cpu::Optimizer::<f32>::new(&layout)?;
    /// resumed.load(&Checkpoint::open(&path)?)?;
    /// assert_eq!(resumed.step_count(group)?, 1);
    /// assert_eq!(resumed.param(weight)?, optimizer.param(weight)?);
    /// # std::fs::remove_file(&path).unwrap();
    /// # Ok::<(), wgpu_optim::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::File`] if the file cannot be created or replaced; [`Error::Checkpoint`] if it cannot be
    /// written, for instance since the disk is full.
    #[cfg(not(target_family = "wasm"))]
    pub fn save(&self, path: impl AsRef<std::path::Path>, save: &Save) -> Result<(), Error> {
        let outline = self.outline(save)?;
        replace(path.as_ref(), |out| self.write(out, &outline))
    }

    /// The bytes of the file that [`save`](Self::save) writes.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn save_bytes(&self, save: &Save) -> Result<Vec<u8>, Error> {
        let outline = self.outline(save)?;
        let out = Cursor::new(outline.reserved()?);
        Ok(self.write(out, &outline)?.into_inner())
    }

    /// Continues from `checkpoint`: state, counts, learning rates and all else that is in it. It must
    /// be of an optimizer with the same tensors, rules, hyperparameters and options, except that the
    /// learning rate comes from it. Numbers of f32 may be loaded into f64, but not if they were saved in
    /// evaluation with an average of parameters in fewer bits.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] says what differs; the optimizer is as it was. [`Error::OutOfMemory`].
    pub fn load(&mut self, checkpoint: &Checkpoint) -> Result<(), Error> {
        let matching = exact(checkpoint, &self.layout, &self.options, dtype::<T>())?;
        if matching.description.evaluating {
            self.check_evaluating(checkpoint, &matching)?;
        }
        let mut loaded = self.with(checkpoint, &matching)?;
        loaded.evaluating = matching.description.evaluating;
        *self = loaded;
        Ok(())
    }

    /// Loads the parameters alone. State and counts stay as they are.
    ///
    /// # Errors
    /// As [`load`](Self::load); [`Error::Evaluating`] after [`evaluate`](Self::evaluate).
    pub fn load_params(&mut self, checkpoint: &Checkpoint) -> Result<(), Error> {
        self.check_training()?;
        let matching = params(checkpoint, &self.layout, &self.options, dtype::<T>())?;
        *self = self.with_tensors(checkpoint, &matching)?;
        Ok(())
    }

    /// [`load`](Self::load) for a model that changed. `name_in_file` gives the name that a tensor of
    /// the layout has in the checkpoint, or `None` for one that starts fresh. A group either finds all
    /// its tensors, with one count of steps, or none: so no state is without its count. Hyperparameters
    /// and options may differ.
    ///
    /// # Errors
    /// As [`load_params`](Self::load_params).
    pub fn load_partial(
        &mut self,
        checkpoint: &Checkpoint,
        name_in_file: impl Fn(&str) -> Option<String>,
    ) -> Result<Loaded, Error> {
        self.check_training()?;
        let (layout, options) = (&self.layout, &self.options);
        let matching = partial(checkpoint, layout, options, dtype::<T>(), name_in_file)?;
        *self = self.with(checkpoint, &matching)?;
        Ok(matching.loaded)
    }

    /// Refuses averages that share their words with parameters if numbers here are f64, which do not.
    fn check_evaluating(
        &self,
        checkpoint: &Checkpoint,
        matching: &Matching<'_>,
    ) -> Result<(), Error> {
        for (index, entry) in &matching.tensors {
            let group = self.layout.entry(entry.tensor)?.group;
            let shares = self.layout.storage(group).params.rounds()
                && entry.part == Part::State(AVERAGE)
                && checkpoint.dtype(*index) == Dtype::F32;
            if shares && dtype::<T>() == Dtype::F64 {
                return Err(Error::Checkpoint {
                    what: format!("tensor {:?}", entry.name),
                    problem: "it was saved in evaluation, and shares its bits with parameters that are not \
                              f32; expected a file that was saved after train()"
                        .to_owned(),
                });
            }
        }
        Ok(())
    }

    fn outline(&self, save: &Save) -> Result<Outline, Error> {
        let stats = self.stats();
        let host = self.groups.iter().zip(&stats.groups).map(|(group, stats)| {
            let GroupState {
                rule,
                progress,
                past,
                ..
            } = group;
            progress.host_side(past, &**rule, stats.step_count)
        });
        let host = host.collect::<Result<Vec<_>, Error>>()?;
        let (layout, options) = (&self.layout, &self.options);
        let mut entries = entries(layout, options, dtype::<T>(), save.params);
        entries.retain(|entry| entry.part != Part::Residual || dtype::<T>() == Dtype::F32);
        Ok(Outline {
            entries,
            description: Description::new(layout, options, &stats, host, self.evaluating),
            user: save.user.clone(),
        })
    }

    fn write<W: Write + Seek>(&self, out: W, outline: &Outline) -> Result<W, Error> {
        let mut writer = Writer::new(out, outline)?;
        for entry in &outline.entries {
            match entry.part {
                Part::Param | Part::Residual => {
                    writer.write(&bytes(entry, self.param(entry.tensor)?)?)?
                }
                Part::State(slot) => match self.coded_bytes(entry.tensor, slot)? {
                    Some(bytes) => writer.write(bytes)?,
                    None => writer.write(&bytes(entry, &self.state(entry.tensor, slot)?)?)?,
                },
                Part::Step => writer.write(&outline.step_of(&self.layout, entry.tensor))?,
            }
        }
        writer.finish()
    }

    /// This optimizer with what `matching` takes from `checkpoint`.
    fn with(&self, checkpoint: &Checkpoint, matching: &Matching<'_>) -> Result<Self, Error> {
        let mut loaded = self.with_tensors(checkpoint, matching)?;
        let description = matching.description;
        if let Some(scale) = matching.loss_scale(&self.layout, &self.options)? {
            loaded.set_loss_scale(scale.0, scale.1)?;
        }
        loaded.stats.performed = description.performed;
        loaded.stats.skipped = description.skipped;
        loaded.stats.clip_factor = description.clip_factor;
        loaded.stats.grad_norm = description.grad_norm;
        for (group, of_file) in loaded.groups.iter_mut().zip(&matching.groups) {
            let Some(of_file) = of_file else { continue };
            group.progress.restore(&*group.rule, of_file)?;
            group.skips = Skips::after(of_file.skipped);
            group.past = Past::default();
            group.solved = Tally {
                damping: of_file.damping,
                failures: of_file.failures,
                unsolved: of_file.unsolved,
            };
        }
        Ok(loaded)
    }

    fn with_tensors(
        &self,
        checkpoint: &Checkpoint,
        matching: &Matching<'_>,
    ) -> Result<Self, Error> {
        let mut loaded = self.copied()?;
        let indices: Vec<_> = matching.tensors.iter().map(|&(index, _)| index).collect();
        // What has come of a tensor that is not made of numbers.
        let mut come = Vec::new();
        checkpoint.read(&indices, |position, start, bytes| {
            let (index, entry) = &matching.tensors[position];
            if let Part::State(slot) = entry.part
                && let Some((coded, elements)) = loaded.coded_mut(entry.tensor, slot)?
            {
                reserve(&mut come, entry.bytes(), "bytes to load")?;
                come.extend_from_slice(bytes);
                if come.len() == entry.bytes() {
                    coded.fill(elements, &come);
                    come.clear();
                }
                return Ok(());
            }
            let values = match entry.part {
                Part::Param | Part::Residual => loaded.param_mut(entry.tensor)?,
                Part::State(slot) => loaded.state_mut(entry.tensor, slot)?,
                Part::Step => return Ok(()),
            };
            match checkpoint.dtype(*index) {
                Dtype::F32 if dtype::<T>() == Dtype::F32 => {
                    // An average that shares its word with a parameter may look like a NaN whose bits a
                    // conversion would change.
                    if let Ok(values) = bytemuck::try_cast_slice_mut(&mut values[start / 4..]) {
                        copy(bytes, values, f32::from_le_bytes);
                    }
                }
                Dtype::F32 => copy(bytes, &mut values[start / 4..], |bytes| {
                    T::from_f64(f64::from(f32::from_le_bytes(bytes)))
                }),
                Dtype::F64 => copy(bytes, &mut values[start / 8..], |bytes| {
                    T::from_f64(f64::from_le_bytes(bytes))
                }),
                _ => {
                    let of_tensor = entry.encoding.bytes(values.len() as u64) as usize;
                    reserve(&mut come, of_tensor, "bytes to load")?;
                    come.extend_from_slice(bytes);
                    if come.len() == of_tensor {
                        decode(entry.encoding, &come, values)?;
                        come.clear();
                    }
                }
            }
            Ok(())
        })?;
        Ok(loaded)
    }
}

/// The numbers in `bytes`, of `N` bytes each.
fn copy<T, const N: usize>(bytes: &[u8], values: &mut [T], number: impl Fn([u8; N]) -> T) {
    let (numbers, _) = bytes.as_chunks();
    for (value, bytes) in values.iter_mut().zip(numbers) {
        *value = number(*bytes);
    }
}

/// The bytes of a file's tensor. The values are as rounded as their encoding rounds.
fn bytes<'v, T: Real>(entry: &Entry, values: &'v [T]) -> Result<Cow<'v, [u8]>, Error> {
    Ok(match entry.dtype {
        Dtype::F32 | Dtype::F64 => Cow::Borrowed(bytemuck::cast_slice(values)),
        _ => Cow::Owned(entry.encoding.try_encoded(&as_f32(values)?)?),
    })
}

/// Puts what `bytes` are in place of `values`, or completes these if `encoding` is that of a residual.
fn decode<T: Real>(encoding: Encoding, bytes: &[u8], values: &mut [T]) -> Result<(), Error> {
    if dtype::<T>() == Dtype::F32
        && let Ok(values) = bytemuck::try_cast_slice_mut(values)
    {
        encoding.decode(bytes, values);
        return Ok(());
    }
    let mut decoded = as_f32(values)?.into_owned();
    encoding.decode(bytes, &mut decoded);
    store(&decoded, values);
    Ok(())
}

fn dtype<T>() -> Dtype {
    match size_of::<T>() {
        4 => Dtype::F32,
        _ => Dtype::F64,
    }
}
