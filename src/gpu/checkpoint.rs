//! Saving an optimizer from the device, and loading it.

use std::{
    io::{Cursor, Seek, Write},
    mem::offset_of,
    ops::Range,
    sync::Arc,
};

use futures_intrusive::channel::shared::oneshot_channel;

use super::{
    Optimizer, Snapshot,
    owning::OwningDevice,
    packing::{Packing, stretches},
    records::{GroupStatsRecord, StatsRecord, device_count},
};
use crate::{
    BufferRange, Checkpoint, Error, Layout, Loaded, Options, Save, Stats,
    buffer::{check_queue, fetch, guarded_now},
    checkpoint::{
        Description, Dtype, Entry, LastRow, Matching, Outline, Part, SLICE, Writer, entries, exact,
        params, partial,
    },
    progress::{Past, Progress},
};
#[cfg(not(target_family = "wasm"))]
use crate::{
    buffer::{Waiting, fetch_blocking},
    checkpoint::replace,
};

/// A copy of an [`Optimizer`] on the device, on its way to a file. It has all as it was at the moment
/// in the encoder at which it was recorded, whatever steps follow.
#[derive(Debug)]
pub struct Saving {
    /// Owns the copies.
    device: Arc<OwningDevice>,
    layout: Layout,
    options: Options,
    entries: Vec<Entry>,
    /// Where the copy of each entry lies. There is none for a `step`.
    copies: Vec<Option<BufferRange>>,
    snapshot: Snapshot,
    groups: Vec<(Progress, Past)>,
    evaluating: bool,
    user: std::collections::BTreeMap<String, String>,
}

impl Optimizer {
    /// Records a copy of all of the optimizer, to be saved while training goes on. It takes as much
    /// memory of the device as it has bytes, until it is written.
    ///
    /// ```
    /// use wgpu_optim::{Checkpoint, Save};
    /// # use wgpu_optim::{Gpu, GpuOptions, Layout, Optimizer, Options, rules::AdamW};
    /// # let Gpu { device, queue, .. } = Gpu::open_blocking(&GpuOptions::default())?;
    /// # let path = std::env::temp_dir().join(format!("gpu-{}.safetensors", std::process::id()));
    /// # let mut layout = Layout::new();
    /// # let group = layout.group(AdamW::default())?;
    /// # layout.tensor(group, "weight", &[2, 2])?;
    /// # let mut optimizer = Optimizer::new(&device, &layout, Options::default())?;
    /// # let mut encoder = device.create_command_encoder(&Default::default());
    /// optimizer.step(&mut encoder)?;
    /// let saving = optimizer.save(&mut encoder, &Save::default())?;
    /// queue.submit([encoder.finish()]);
    /// let (to, target) = (queue.clone(), path.clone());
    /// let writing = std::thread::spawn(move || saving.write_blocking(&to, target));
    /// // … further steps …
    /// # writing.join().unwrap()?;
    ///
    /// // In a later process, over the same layout:
    /// let mut resumed = Optimizer::new(&device, &layout, Options::default())?;
    /// resumed.load(&queue, &Checkpoint::open(&path)?)?;
    /// assert_eq!(resumed.step_count(group)?, 1);
    /// # std::fs::remove_file(&path).unwrap();
    /// # Ok::<(), wgpu_optim::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::BufferRange`] if the parameters are to be saved and a caller's buffer lacks `COPY_SRC`;
    /// [`Error::OutOfMemory`], [`Error::DeviceLost`]. Nothing is recorded then.
    pub fn save(&self, encoder: &mut wgpu::CommandEncoder, save: &Save) -> Result<Saving, Error> {
        let (device, layout) = (&self.setup.device, &self.setup.layout);
        self.check_device("recording a checkpoint")?;
        let entries = entries(layout, &self.setup.options, Dtype::F32, save.params);
        let sources = entries.iter().map(|entry| match self.place(entry)? {
            Some(range) => {
                let what = format!("{} to be saved", entry.name);
                range.check(&what, wgpu::BufferUsages::COPY_SRC)?;
                Ok(Some(range))
            }
            None => Ok(None),
        });
        let sources = sources.collect::<Result<Vec<_>, Error>>()?;
        let of_device: Vec<_> = sources.iter().flatten().cloned().collect();
        let (stretches, places) = stretches(&of_device);
        let device = OwningDevice::new(device);
        let packing = Packing::new(&device, "a checkpoint", &stretches)?;
        let snapshot = self.snapshot_on(&device, encoder)?;
        for (from, to) in stretches.iter().zip(&packing.ranges) {
            let (source, target) = (&from.buffer, &to.buffer);
            encoder.copy_buffer_to_buffer(source, from.offset, target, to.offset, from.size);
        }
        let mut places = places.into_iter();
        let copies = sources.iter().map(|source| {
            let size = source.as_ref()?.size;
            let (stretch, offset) = places.next()?;
            let BufferRange {
                buffer,
                offset: start,
                ..
            } = packing.ranges[stretch].clone();
            let offset = start + offset;
            Some(BufferRange {
                buffer,
                offset,
                size,
            })
        });
        Ok(Saving {
            copies: copies.collect(),
            device,
            layout: layout.clone(),
            options: self.setup.options.clone(),
            entries,
            snapshot,
            groups: self
                .progress
                .iter()
                .cloned()
                .zip(self.past.iter().cloned())
                .collect(),
            evaluating: self.evaluating,
            user: save.user.clone(),
        })
    }

    /// Continues from `checkpoint`: state, counts, learning rates, parameters and all else that is in
    /// it. It must be of an optimizer with the same tensors, rules, hyperparameters and options, except
    /// that the learning rate comes from it. What was recorded before, and is submitted only after
    /// this, runs on what was loaded.
    ///
    /// All of it is brought to the device before any of it takes effect. Until then it takes as much
    /// memory of the device again.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] says what differs; [`Error::BufferRange`] if a caller's buffer lacks
    /// `COPY_DST`; [`Error::OtherDevice`] for another device's queue; [`Error::OutOfMemory`];
    /// [`Error::DeviceLost`]. The optimizer is as it was.
    pub fn load(&mut self, queue: &wgpu::Queue, checkpoint: &Checkpoint) -> Result<(), Error> {
        let (layout, options) = (&self.setup.layout, &self.setup.options);
        let matching = exact(checkpoint, layout, options, Dtype::F32)?;
        self.continue_from(queue, checkpoint, &matching)?;
        self.evaluating = matching.description.evaluating;
        Ok(())
    }

    /// Loads the parameters alone. State and counts stay as they are.
    ///
    /// # Errors
    /// As [`load`](Self::load); [`Error::Evaluating`] after [`evaluate`](Self::evaluate).
    pub fn load_params(&self, queue: &wgpu::Queue, checkpoint: &Checkpoint) -> Result<(), Error> {
        self.check_training()?;
        let (layout, options) = (&self.setup.layout, &self.setup.options);
        let matching = params(checkpoint, layout, options, Dtype::F32)?;
        self.upload(queue, checkpoint, &matching, || ())
    }

    /// [`load`](Self::load) for a model that changed. `name_in_file` gives the name that a tensor of
    /// the layout has in the checkpoint, or `None` for one that starts fresh. A group either finds all
    /// its tensors, with one count of steps, or none: so no state is without its count. Hyperparameters
    /// and options may differ.
    ///
    /// ```
    /// # use wgpu_optim::{Checkpoint, Gpu, GpuOptions, Layout, Optimizer, Options, Save, rules::AdamW};
    /// # let Gpu { device, queue, .. } = Gpu::open_blocking(&GpuOptions::default())?;
    /// # let mut before = Layout::new();
    /// # let group = before.group(AdamW::default())?;
    /// # before.tensor(group, "fc.weight", &[2, 2])?;
    /// # let optimizer = Optimizer::new(&device, &before, Options::default())?;
    /// # let bytes = optimizer.save_bytes_blocking(&queue, &Save::default())?;
    /// # let checkpoint = Checkpoint::from_bytes(bytes)?;
    /// let mut layout = Layout::new();
    /// let body = layout.group(AdamW::default())?;
    /// layout.tensor(body, "fc1.weight", &[2, 2])?; // once "fc.weight"
    /// let head = layout.group(AdamW::default())?;
    /// layout.tensor(head, "fc2.weight", &[1, 2])?; // new
    /// let mut optimizer = Optimizer::new(&device, &layout, Options::default())?;
    /// let loaded = optimizer.load_partial(&queue, &checkpoint, |name| {
    ///     (name == "fc1.weight").then(|| "fc.weight".to_owned())
    /// })?;
    /// assert_eq!(loaded.loaded, ["fc1.weight"]);
    /// assert_eq!(loaded.fresh, ["fc2.weight"]);
    /// # Ok::<(), wgpu_optim::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`load_params`](Self::load_params).
    pub fn load_partial(
        &mut self,
        queue: &wgpu::Queue,
        checkpoint: &Checkpoint,
        name_in_file: impl Fn(&str) -> Option<String>,
    ) -> Result<Loaded, Error> {
        self.check_training()?;
        let (layout, options) = (&self.setup.layout, &self.setup.options);
        let matching = partial(checkpoint, layout, options, Dtype::F32, name_in_file)?;
        self.continue_from(queue, checkpoint, &matching)?;
        Ok(matching.loaded)
    }

    /// Where what `entry` holds lies on the device. Nowhere, for a `step`.
    fn place(&self, entry: &Entry) -> Result<Option<BufferRange>, Error> {
        match entry.part {
            Part::Param => self.own_param(entry.tensor).map(Some),
            Part::Residual => self.residual(entry.tensor),
            Part::State(slot) => Ok(Some(self.stored_state(entry.tensor, slot)?.range)),
            Part::Step => Ok(None),
        }
    }

    fn continue_from(
        &mut self,
        queue: &wgpu::Queue,
        checkpoint: &Checkpoint,
        matching: &Matching<'_>,
    ) -> Result<(), Error> {
        let (layout, options) = (&self.setup.layout, &self.setup.options);
        let mut progress = self.progress.clone();
        let stats = &self.setup.begin_step.stats;
        let description = matching.description;
        let mut writes = vec![(TOTALS.start as u64, totals(description)?)];
        if let Some((scale, good_steps)) = matching.loss_scale(layout, options)? {
            let words = [(scale as f32).to_bits(), good_steps];
            writes.push((0, bytemuck::cast_slice(&words).to_vec()));
        }
        let groups = layout
            .groups
            .iter()
            .zip(&mut progress)
            .zip(&matching.groups);
        for (index, ((rule, progress), of_file)) in groups.enumerate() {
            let Some(of_file) = of_file else { continue };
            progress.restore(&**rule, of_file)?;
            let record = GroupStatsRecord {
                lr: of_file.last_lr as f32,
                step_count: device_count(of_file.performed, of_file.performed),
                skipped: word("skipped steps", of_file.skipped)?,
                epoch: progress.origin().epoch,
                damping: of_file.damping as f32,
                failures: word("failed factorisations", of_file.failures)?,
                unsolved: word("unsolved systems", of_file.unsolved)?,
            };
            let size = size_of::<GroupStatsRecord>();
            let offset = size_of::<StatsRecord>() + index * size;
            writes.push((offset as u64, bytemuck::bytes_of(&record).to_vec()));
        }
        self.upload(queue, checkpoint, matching, || {
            for (offset, bytes) in &writes {
                queue.write_buffer(stats, *offset, bytes);
            }
        })?;
        self.progress = progress;
        let past = self.past.iter_mut().zip(&matching.groups);
        past.filter(|(_, of_file)| of_file.is_some())
            .for_each(|(past, _)| past.clear());
        Ok(())
    }

    /// Brings the tensors of `matching` to the device, and then, at once, to their places. `and` writes
    /// what goes with them.
    fn upload(
        &self,
        queue: &wgpu::Queue,
        checkpoint: &Checkpoint,
        matching: &Matching<'_>,
        and: impl FnOnce(),
    ) -> Result<(), Error> {
        let device = &self.setup.device;
        let own = &self.setup.begin_step.stats;
        check_queue(device, queue, own, "loading a checkpoint")?;
        let mut targets = Vec::new();
        for (_, entry) in &matching.tensors {
            let Some(range) = self.place(entry)? else {
                continue;
            };
            let what = format!("{} to be loaded", entry.name);
            range.check(&what, wgpu::BufferUsages::COPY_DST)?;
            targets.push(range);
        }
        let owner = OwningDevice::new(device);
        let packing = Packing::new(&owner, "a checkpoint", &targets)?;
        let indices: Vec<_> = matching.tensors.iter().map(|&(index, _)| index).collect();
        let mut pending = 0;
        let mut put = |position: usize, start: usize, bytes: &[u8]| {
            let BufferRange { buffer, offset, .. } = &packing.ranges[position];
            // A copy is a multiple of four bytes.
            let mut padded = Vec::new();
            let whole = match bytes.len() % 4 {
                0 => bytes,
                _ => {
                    padded.extend_from_slice(bytes);
                    padded.resize(bytes.len().next_multiple_of(4), 0);
                    &padded[..]
                }
            };
            guarded_now(device, "a checkpoint", || {
                queue.write_buffer(buffer, offset + start as u64, whole);
                pending += bytes.len();
                // The host keeps what is written until the next submission.
                if pending >= SLICE {
                    queue.submit([]);
                    pending = 0;
                }
            })
        };
        let mut last = LastRow::default();
        checkpoint.read(&indices, |position, start, bytes| {
            let (_, entry) = &matching.tensors[position];
            let (before, row) = last.take(entry, start, bytes);
            put(position, start, before)?;
            match row {
                Some(row) => put(position, start + bytes.len() - row.len(), &row),
                None => Ok(()),
            }
        })?;
        guarded_now(device, "a checkpoint", || {
            let mut encoder = device.create_command_encoder(&Default::default());
            for (from, to) in packing.ranges.iter().zip(&targets) {
                let (source, target) = (&from.buffer, &to.buffer);
                encoder.copy_buffer_to_buffer(source, from.offset, target, to.offset, from.size);
            }
            self.record_copies(&mut encoder);
            and();
            queue.submit([encoder.finish()]);
        })
    }
}

#[cfg(not(target_family = "wasm"))]
impl Optimizer {
    /// Saves all of the optimizer as it is on the device now to the file `path`, and waits for it.
    ///
    /// # Errors
    /// As [`save`](Self::save) and [`Saving::write_blocking`].
    pub fn save_blocking(
        &self,
        queue: &wgpu::Queue,
        path: impl AsRef<std::path::Path>,
        save: &Save,
    ) -> Result<(), Error> {
        self.save_now(queue, save)?.write_blocking(queue, path)
    }

    /// The bytes of the file that [`save_blocking`](Self::save_blocking) writes.
    ///
    /// # Errors
    /// As [`save`](Self::save) and [`Saving::bytes`].
    pub fn save_bytes_blocking(&self, queue: &wgpu::Queue, save: &Save) -> Result<Vec<u8>, Error> {
        self.save_now(queue, save)?.bytes_blocking(queue)
    }

    fn save_now(&self, queue: &wgpu::Queue, save: &Save) -> Result<Saving, Error> {
        let device = &self.setup.device;
        let own = &self.setup.begin_step.stats;
        check_queue(device, queue, own, "recording a checkpoint")?;
        let mut encoder = device.create_command_encoder(&Default::default());
        let saving = self.save(&mut encoder, save)?;
        guarded_now(device, "a checkpoint", || queue.submit([encoder.finish()]))?;
        Ok(saving)
    }
}

impl Saving {
    /// The bytes of the file. Natively, something must poll the device meanwhile.
    ///
    /// # Errors
    /// [`Error::Wgpu`] if the encoder was dropped or its submission refused; [`Error::OtherDevice`] for
    /// another device's queue; [`Error::DeviceLost`]; [`Error::OutOfMemory`].
    pub async fn bytes(self, queue: &wgpu::Queue) -> Result<Vec<u8>, Error> {
        self.check_queue(queue)?;
        let (sender, done) = oneshot_channel();
        // The receiver may have been dropped. Then nobody waits.
        queue.on_submitted_work_done(move || drop(sender.send(())));
        done.receive().await;
        let stats = self.snapshot.get()?.ok_or_else(|| Error::Wgpu {
            what: "to save a checkpoint".to_owned(),
            message: "the encoder that copies it was not submitted".to_owned(),
        })?;
        let outline = self.outline(&stats)?;
        let mut writer = Writer::new(Cursor::new(outline.reserved()?), &outline)?;
        for slice in self.slices() {
            let write = |bytes: &[u8]| slice.write(bytes, &mut writer);
            fetch(&self.device, queue, &slice.ranges, write).await??;
        }
        writer.write(&self.steps(&outline))?;
        Ok(writer.finish()?.into_inner())
    }
}

#[cfg(not(target_family = "wasm"))]
impl Saving {
    /// Writes the file, or leaves the one that is there as it is. It waits for the device, but not so
    /// that another thread could not go on submitting. It holds a few megabytes of the host's memory at
    /// a time.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes). Also [`Error::File`] if the file cannot be created or replaced, and
    /// [`Error::Checkpoint`] if it cannot be written, for instance since the disk is full;
    /// [`Error::Timeout`] if the encoder was not submitted.
    pub fn write_blocking(
        self,
        queue: &wgpu::Queue,
        path: impl AsRef<std::path::Path>,
    ) -> Result<(), Error> {
        let outline = self.arrived(queue)?;
        replace(path.as_ref(), |out| self.write(queue, out, &outline))
    }

    /// [`bytes`](Self::bytes), blocking.
    pub fn bytes_blocking(self, queue: &wgpu::Queue) -> Result<Vec<u8>, Error> {
        let outline = self.arrived(queue)?;
        let out = Cursor::new(outline.reserved()?);
        Ok(self.write(queue, out, &outline)?.into_inner())
    }

    fn arrived(&self, queue: &wgpu::Queue) -> Result<Outline, Error> {
        self.check_queue(queue)?;
        let stats = self.snapshot.wait(&self.device)?;
        self.outline(&stats)
    }

    fn write<W: Write + Seek>(
        &self,
        queue: &wgpu::Queue,
        out: W,
        outline: &Outline,
    ) -> Result<W, Error> {
        let mut writer = Writer::new(out, outline)?;
        for slice in self.slices() {
            let write = |bytes: &[u8]| slice.write(bytes, &mut writer);
            let (during, waiting) = ("reading buffers", Waiting::Beside);
            fetch_blocking(&self.device, queue, &slice.ranges, during, waiting, write)??;
        }
        writer.write(&self.steps(outline))?;
        writer.finish()
    }
}

impl Saving {
    fn check_queue(&self, queue: &wgpu::Queue) -> Result<(), Error> {
        let own = self.snapshot.buffer();
        check_queue(&self.device, queue, own, "saving a checkpoint")
    }

    fn outline(&self, stats: &Stats) -> Result<Outline, Error> {
        let groups = self
            .layout
            .groups
            .iter()
            .zip(&self.groups)
            .zip(&stats.groups);
        let host = groups.map(|((rule, (progress, past)), stats)| {
            progress.host_side(past, &**rule, stats.step_count)
        });
        let host = host.collect::<Result<Vec<_>, Error>>()?;
        let (layout, options) = (&self.layout, &self.options);
        Ok(Outline {
            entries: self.entries.clone(),
            description: Description::new(layout, options, stats, host, self.evaluating),
            user: self.user.clone(),
        })
    }

    /// Where all that the device has for the file lies, in slices of at most [`SLICE`] bytes.
    fn slices(&self) -> Vec<Slice> {
        let mut slices: Vec<Slice> = Vec::new();
        let mut left = 0;
        for (copy, entry) in self.copies.iter().zip(&self.entries) {
            let Some(mut rest) = copy.clone() else {
                continue;
            };
            let mut bytes = entry.bytes();
            while rest.size > 0 {
                if left == 0 {
                    slices.push(Slice::default());
                    left = SLICE as u64;
                }
                let size = rest.size.min(left);
                if let Some(slice) = slices.last_mut() {
                    slice.bytes.push(bytes.min(size as usize));
                    slice.ranges.push(BufferRange {
                        size,
                        ..rest.clone()
                    });
                }
                left -= size;
                rest.offset += size;
                rest.size -= size;
                bytes = bytes.saturating_sub(size as usize);
            }
        }
        slices
    }

    /// What the file has after that: each tensor's `step`.
    fn steps(&self, outline: &Outline) -> Vec<u8> {
        let steps = self.entries.iter().filter(|entry| entry.part == Part::Step);
        steps
            .flat_map(|entry| outline.step_of(&self.layout, entry.tensor))
            .collect()
    }
}

/// What is fetched from the device at once.
#[derive(Default)]
struct Slice {
    ranges: Vec<BufferRange>,
    /// How many bytes of each range the file has. A copy may end in padding.
    bytes: Vec<usize>,
}

impl Slice {
    /// Writes what was fetched.
    fn write<W: Write + Seek>(
        &self,
        mut fetched: &[u8],
        writer: &mut Writer<'_, W>,
    ) -> Result<(), Error> {
        for (range, bytes) in self.ranges.iter().zip(&self.bytes) {
            let (copy, rest) = fetched.split_at(range.size as usize);
            writer.write(&copy[..*bytes])?;
            fetched = rest;
        }
        Ok(())
    }
}

/// A count as the device keeps it.
fn word(what: &str, count: u64) -> Result<u32, Error> {
    u32::try_from(count).map_err(|_| Error::Checkpoint {
        what: format!("the number of {what}"),
        problem: format!("it is {count}; a device counts up to {}", u32::MAX),
    })
}

/// The bytes of a `StatsRecord` from its norm on, but for whether it is there.
const TOTALS: Range<usize> = offset_of!(StatsRecord, norm)..offset_of!(StatsRecord, is_there);

/// What they say of `description`.
fn totals(description: &Description) -> Result<Vec<u8>, Error> {
    let norm = description.grad_norm.unwrap_or(0.0);
    // A norm beyond f32 has an exponent of its own.
    let exponent = if norm > 0.0 { norm.log2().floor() } else { 0.0 };
    let record = StatsRecord {
        norm: (norm / exponent.exp2()) as f32,
        exponent: exponent as i32,
        clip_factor: description.clip_factor as f32,
        performed: word("performed steps", description.performed)?,
        skipped: word("skipped steps", description.skipped)?,
        ..StatsRecord::default()
    };
    Ok(bytemuck::bytes_of(&record)[TOTALS].to_vec())
}
