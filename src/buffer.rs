//! Ranges of GPU buffers, and how to read and write numbers in them.

mod bytes;
mod guarded;
mod loss;
mod own;
mod ownership;

use std::borrow::Cow;
#[cfg(not(target_family = "wasm"))]
use std::{
    pin::pin,
    task::{Context, Poll, Waker},
};

use futures_intrusive::channel::shared::{OneshotReceiver, oneshot_channel};

pub(crate) use guarded::{Answer, begun, guarded, guarded_now, is_lost};
pub use loss::DeviceLoss;
pub(crate) use loss::is_reported_lost;
pub(crate) use own::Own;
pub(crate) use ownership::{check_owned, check_queue};

use crate::{Error, error::check_length, format::Encoding, memory::reserved};

/// A range of bytes of a buffer, which holds one tensor: of f32 unless its [`Formats`](crate::Formats) say
/// otherwise. Elements of 16 bits take whole words, so an odd number of them has two bytes more.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BufferRange {
    /// The buffer that holds the bytes.
    pub buffer: wgpu::Buffer,
    /// In bytes, a multiple of 4.
    pub offset: u64,
    /// In bytes, a multiple of 4.
    pub size: u64,
}

impl BufferRange {
    /// The whole of `buffer`.
    pub fn whole(buffer: &wgpu::Buffer) -> Self {
        Self {
            buffer: buffer.clone(),
            offset: 0,
            size: buffer.size(),
        }
    }

    /// A binding for your own bind groups. The offset must be a multiple of the device's
    /// `min_storage_buffer_offset_alignment`; tensors in this crate's arenas are aligned for every
    /// device. An empty range cannot be bound, because wgpu reads a size of 0 as the rest of the
    /// buffer.
    pub fn binding(&self) -> wgpu::BindingResource<'_> {
        wgpu::BindingResource::Buffer(wgpu::BufferBinding {
            buffer: &self.buffer,
            offset: self.offset,
            size: wgpu::BufferSize::new(self.size),
        })
    }

    /// How many f32 the range holds.
    pub fn element_count(&self) -> usize {
        Encoding::F32.elements(self.size) as usize
    }

    /// Refuses a range that leaves its buffer, is not aligned to 4 bytes, or lies in a buffer
    /// without `usage`.
    pub(crate) fn check(&self, what: &str, usage: wgpu::BufferUsages) -> Result<(), Error> {
        let Self {
            buffer,
            offset,
            size,
        } = self;
        let step = wgpu::COPY_BUFFER_ALIGNMENT;
        if offset % step != 0 || size % step != 0 {
            let problem =
                format!("offset {offset} and size {size} must be multiples of {step} bytes");
            return Err(Error::range(what, problem));
        }
        if offset
            .checked_add(*size)
            .is_none_or(|end| end > buffer.size())
        {
            let problem = format!(
                "{size} bytes at offset {offset} are not within the buffer of {} bytes",
                buffer.size()
            );
            return Err(Error::range(what, problem));
        }
        if !buffer.usage().contains(usage) {
            let problem = format!(
                "the buffer's usage is {:?}; it must contain {usage:?}",
                buffer.usage()
            );
            return Err(Error::range(what, problem));
        }
        Ok(())
    }
}

/// Reads the f32 of `range`. Natively, something must poll the device meanwhile; see
/// [`read_blocking`].
///
/// # Errors
/// [`Error::BufferRange`] if the range leaves its buffer, or if the buffer lacks `COPY_SRC`;
/// [`Error::OtherDevice`] if the queue or the buffer is not of `device`; [`Error::OutOfMemory`];
/// [`Error::DeviceLost`].
pub async fn read(
    device: &wgpu::Device,
    queue: &wgpu::Queue,
    range: &BufferRange,
) -> Result<Vec<f32>, Error> {
    Stored::f32(range).read(device, queue).await
}

/// [`read`], blocking. It waits until the queue has done everything submitted before.
///
/// # Errors
/// As [`read`], and [`Error::Timeout`] after two minutes.
#[cfg(not(target_family = "wasm"))]
pub fn read_blocking(
    device: &wgpu::Device,
    queue: &wgpu::Queue,
    range: &BufferRange,
) -> Result<Vec<f32>, Error> {
    Stored::f32(range).read_blocking(device, queue)
}

/// Writes `values` to `range`. The write comes before everything that is submitted to `queue`
/// afterwards.
///
/// # Errors
/// [`Error::BufferRange`] as for [`read`], with `COPY_DST`; [`Error::Length`] unless there is one
/// value for each f32 of the range; [`Error::OtherDevice`]; [`Error::OutOfMemory`];
/// [`Error::DeviceLost`].
pub fn write(
    device: &wgpu::Device,
    queue: &wgpu::Queue,
    range: &BufferRange,
    values: &[f32],
) -> Result<(), Error> {
    Stored::f32(range).write(device, queue, values)
}

/// Numbers in a buffer.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub range: BufferRange,
    pub encoding: Encoding,
    /// How many there are.
    pub count: usize,
    /// Where their other bits lie, if the encoding has a residual.
    pub residual: Option<BufferRange>,
}

impl Stored {
    fn f32(range: &BufferRange) -> Self {
        Self {
            range: range.clone(),
            encoding: Encoding::F32,
            count: range.element_count(),
            residual: None,
        }
    }

    fn ranges(&self) -> Vec<BufferRange> {
        let Self {
            range, residual, ..
        } = self;
        [range].into_iter().chain(residual).cloned().collect()
    }

    /// See [`read`].
    pub async fn read(
        &self,
        device: &wgpu::Device,
        queue: &wgpu::Queue,
    ) -> Result<Vec<f32>, Error> {
        fetch(device, queue, &self.ranges(), |bytes| self.values(bytes)).await?
    }

    /// See [`read_blocking`].
    #[cfg(not(target_family = "wasm"))]
    pub fn read_blocking(
        &self,
        device: &wgpu::Device,
        queue: &wgpu::Queue,
    ) -> Result<Vec<f32>, Error> {
        self.fetch_blocking(device, queue, |bytes| self.values(bytes))?
    }

    /// What `take` makes of the bytes, once the queue has done everything that was submitted before.
    #[cfg(not(target_family = "wasm"))]
    fn fetch_blocking<R>(
        &self,
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        take: impl FnOnce(&[u8]) -> R,
    ) -> Result<R, Error> {
        let (during, waiting) = ("reading a buffer", Waiting::Idle);
        fetch_blocking(device, queue, &self.ranges(), during, waiting, take)
    }

    /// See [`write`]. Each value is rounded to the nearest that can be stored.
    pub fn write(
        &self,
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        values: &[f32],
    ) -> Result<(), Error> {
        self.check_write(device, queue, "values to write", self.count, values.len())?;
        let encoded = match self.encoding == Encoding::F32 {
            true => Cow::Borrowed(bytemuck::cast_slice(values)),
            false => Cow::Owned(self.encoding.try_encoded(values)?),
        };
        let beside = self.encoding.residual();
        let beside = beside.map(|residual| residual.try_encoded(values));
        self.put(
            device,
            queue,
            encoded,
            &beside.transpose()?.unwrap_or_default(),
        )
    }

    /// Refuses to write where nothing can be written, and a wrong number of `what`.
    fn check_write(
        &self,
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        what: &str,
        expected: usize,
        actual: usize,
    ) -> Result<(), Error> {
        self.range.check("write", wgpu::BufferUsages::COPY_DST)?;
        check_length(what, expected, actual)?;
        check_queue(device, queue, &self.range.buffer, "writing a buffer")
    }

    /// Writes encoded values and what lies beside them, each to a whole range.
    fn put(
        &self,
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        encoded: Cow<'_, [u8]>,
        beside: &[u8],
    ) -> Result<(), Error> {
        let Self {
            range, residual, ..
        } = self;
        let encoded = padded(encoded, range);
        let beside = residual
            .as_ref()
            .map(|range| (range, padded(beside.into(), range)));
        let written = guarded_now(device, "values to write", || {
            queue.write_buffer(&range.buffer, range.offset, &encoded);
            if let Some((range, bytes)) = &beside {
                queue.write_buffer(&range.buffer, range.offset, bytes);
            }
        });
        written.map_err(|error| explain(device, std::slice::from_ref(range), error))
    }

    /// The numbers in the range's bytes.
    fn values(&self, bytes: &[u8]) -> Result<Vec<f32>, Error> {
        let mut values = reserved(self.count, "values to read")?;
        values.resize(self.count, 0.0);
        let bits = bytes.len().min(self.range.size as usize);
        self.encoding.decode(&bytes[..bits], &mut values);
        if let Some(residual) = self.encoding.residual() {
            residual.decode(&bytes[bits..], &mut values);
        }
        Ok(values)
    }
}

/// The bytes of a whole range.
fn padded<'b>(bytes: Cow<'b, [u8]>, range: &BufferRange) -> Cow<'b, [u8]> {
    let size = range.size as usize;
    if bytes.len() == size {
        return bytes;
    }
    let mut bytes = bytes.into_owned();
    bytes.resize(size, 0);
    Cow::Owned(bytes)
}

/// Gives `take` the bytes of `ranges`, one after another, once they have arrived. Natively, something
/// must poll the device meanwhile.
pub(crate) async fn fetch<R>(
    device: &wgpu::Device,
    queue: &wgpu::Queue,
    ranges: &[BufferRange],
    take: impl FnOnce(&[u8]) -> R,
) -> Result<R, Error> {
    let Some(download) = Download::start(device, queue, ranges).await? else {
        return Ok(take(&[]));
    };
    let mapped = download.mapped.receive().await;
    download.finish(mapped, take)
}

/// [`fetch`], blocking. `during` names it in errors.
#[cfg(not(target_family = "wasm"))]
pub(crate) fn fetch_blocking<R>(
    device: &wgpu::Device,
    queue: &wgpu::Queue,
    ranges: &[BufferRange],
    during: &str,
    waiting: Waiting,
    take: impl FnOnce(&[u8]) -> R,
) -> Result<R, Error> {
    let Some(download) = pollster::block_on(Download::start(device, queue, ranges))? else {
        return Ok(take(&[]));
    };
    let mapped = wait(device, &download.mapped, during, waiting)?;
    download.finish(mapped, take)
}

/// Says so if wgpu refused `ranges` because their buffers are of another device.
fn explain(device: &wgpu::Device, ranges: &[BufferRange], error: Error) -> Error {
    if !matches!(error, Error::Wgpu { .. }) {
        return error;
    }
    let buffers = ranges.iter().map(|range| &range.buffer);
    let owned = check_owned(device, buffers, || "the buffer".to_owned());
    owned.err().unwrap_or(error)
}

type MapResult = Result<(), wgpu::BufferAsyncError>;

/// A read on its way.
struct Download {
    staging: Own,
    mapped: OneshotReceiver<MapResult>,
}

impl Download {
    /// Starts a read. `None` if there are no bytes: none cannot be mapped.
    async fn start(
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        ranges: &[BufferRange],
    ) -> Result<Option<Self>, Error> {
        for range in ranges {
            range.check("read", wgpu::BufferUsages::COPY_SRC)?;
        }
        if let Some(BufferRange { buffer, .. }) = ranges.first() {
            check_queue(device, queue, buffer, "reading a buffer")?;
        }
        let size = ranges.iter().map(|range| range.size).sum();
        if size == 0 {
            return Ok(None);
        }
        let (sender, mapped) = oneshot_channel();
        let staging = guarded(device, "a staging buffer to read into", || {
            let staging = Own::new(device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("wgpu-optim read"),
                size,
                usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            }));
            let mut encoder = device.create_command_encoder(&Default::default());
            let mut end = 0;
            for BufferRange {
                buffer,
                offset,
                size,
            } in ranges
            {
                encoder.copy_buffer_to_buffer(buffer, *offset, &staging, end, *size);
                end += size;
            }
            queue.submit([encoder.finish()]);
            staging.map_async(wgpu::MapMode::Read, .., move |result| {
                // The receiver may have been dropped. Then nobody waits for the result.
                let _ = sender.send(result);
            });
            staging
        });
        let staging = staging
            .await
            .map_err(|error| explain(device, ranges, error))?;
        Ok(Some(Self { staging, mapped }))
    }

    fn finish<R>(
        self,
        mapped: Option<MapResult>,
        take: impl FnOnce(&[u8]) -> R,
    ) -> Result<R, Error> {
        let lost = || Error::DeviceLost {
            during: "reading a buffer".to_owned(),
        };
        mapped.ok_or_else(lost)?.map_err(|_| lost())?;
        let view = self.staging.get_mapped_range(..).map_err(|_| lost())?;
        Ok(take(&view))
    }
}

/// How long a blocking read waits for the device.
#[cfg(not(target_family = "wasm"))]
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(120);

/// How to wait for the device.
#[cfg(not(target_family = "wasm"))]
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Waiting {
    /// Until all that was submitted is done. Nobody can submit meanwhile.
    Idle,
    /// By looking again and again, so that others can submit.
    Beside,
}

/// Polls the device until `receiver` has its answer. `None` if no answer will come.
#[cfg(not(target_family = "wasm"))]
fn wait<T>(
    device: &wgpu::Device,
    receiver: &OneshotReceiver<T>,
    during: &str,
    waiting: Waiting,
) -> Result<Option<T>, Error> {
    let mut answer = pin!(receiver.receive());
    let arrived = || match answer
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        Poll::Ready(answer) => Some(answer),
        Poll::Pending => None,
    };
    let answer = wait_until(device, during, waiting, arrived)?;
    Ok(answer.flatten())
}

/// Polls the device until `arrived` gives something. `None` if the device is lost.
#[cfg(not(target_family = "wasm"))]
pub(crate) fn wait_until<R>(
    device: &wgpu::Device,
    during: &str,
    waiting: Waiting,
    mut arrived: impl FnMut() -> Option<R>,
) -> Result<Option<R>, Error> {
    use std::{
        panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
        time::{Duration, Instant},
    };

    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = arrived() {
            return Ok(Some(answer));
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Error::Timeout {
                during: during.to_owned(),
                seconds: PATIENCE.as_secs(),
            });
        }
        let poll = match waiting {
            Waiting::Idle => wgpu::PollType::Wait {
                submission_index: None,
                timeout: Some(left),
            },
            Waiting::Beside => {
                std::thread::sleep(Duration::from_micros(500));
                wgpu::PollType::Poll
            }
        };
        // wgpu panics on finding the device lost. A timeout shows in `left` in the next round.
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| device.poll(poll))) {
            if is_lost(device) {
                return Ok(None);
            }
            // The panic came from one of the caller's callbacks, which polling runs too.
            resume_unwind(panic);
        }
    }
}
