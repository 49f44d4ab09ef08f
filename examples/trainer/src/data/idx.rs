//! MNIST's IDX files: a big-endian magic number, one big-endian size per dimension, then bytes.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use flate2::bufread::GzDecoder;

use super::{Dataset, Image, Labelled, Samples, Task};

const IMAGES: u32 = 0x0000_0803;
const LABELS: u32 = 0x0000_0801;
const BRIGHTEST: f32 = 255.0;

/// What a gzip file, and each of its members, starts with.
const MEMBER: [u8; 2] = [0x1f, 0x8b];

/// Twice what the largest data set in this format has, EMNIST. In memory it is five times as much.
const MOST_BYTES: usize = 1 << 30;

/// Reads the four files of an MNIST-style folder, plain or gzip, pixels scaled to 0…1.
pub fn load(folder: &Path, classes: usize) -> Result<Dataset> {
    let (train, image) = load_part(folder, "train", classes)?;
    let (test, test_image) = load_part(folder, "t10k", classes)?;
    ensure!(
        image == test_image,
        "{}: training images have {} × {} pixels but test images have {} × {}.",
        folder.display(),
        image.height,
        image.width,
        test_image.height,
        test_image.width
    );
    Ok(Dataset {
        name: folder.display().to_string(),
        task: Task::Classification,
        features: image.height * image.width,
        image: Some(image),
        outputs: classes,
        train,
        test,
    })
}

/// The samples of one part and the size of their images.
fn load_part(folder: &Path, part: &str, classes: usize) -> Result<(Samples, Image)> {
    let images = Idx::read(&find(folder, part, "images", "idx3")?, IMAGES)?;
    let labels = Idx::read(&find(folder, part, "labels", "idx1")?, LABELS)?;
    ensure!(
        images.count() == labels.count(),
        "{} holds {} images but {} holds {} labels.",
        images.path.display(),
        images.count(),
        labels.path.display(),
        labels.count()
    );
    let image = Image {
        height: images.shape[1],
        width: images.shape[2],
    };
    let pixels = image.height * image.width;
    let mut samples = Labelled::new(classes);
    for (number, (image, &label)) in images.bytes.chunks(pixels).zip(&labels.bytes).enumerate() {
        let class = usize::from(label);
        ensure!(
            class < classes,
            "{}: label {number} is {class}, but {classes} classes allow 0 to {} (see --classes).",
            labels.path.display(),
            classes - 1
        );
        samples.push(
            image.iter().map(|&pixel| f32::from(pixel) / BRIGHTEST),
            class,
        );
    }
    Ok((samples.samples, image))
}

/// The file of that name, in any of the spellings that are about: `-idx3` or `.idx3`, plain or
/// `.gz`.
fn find(folder: &Path, part: &str, kind: &str, rank: &str) -> Result<PathBuf> {
    for separator in ['-', '.'] {
        for ending in ["", ".gz"] {
            let path = folder.join(format!("{part}-{kind}{separator}{rank}-ubyte{ending}"));
            if path.is_file() {
                return Ok(path);
            }
        }
    }
    bail!(
        "{}: there is no {part}-{kind}-{rank}-ubyte, plain or .gz (a '.' in place of the second '-' is fine too).",
        folder.display()
    )
}

struct Idx {
    path: PathBuf,
    /// Items, then the size of one item: `[count]` or `[count, rows, columns]`.
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Idx {
    fn read(path: &Path, magic: u32) -> Result<Self> {
        let content =
            std::fs::read(path).with_context(|| format!("Cannot read {}.", path.display()))?;
        // By its contents, since not everyone keeps the ending.
        if content.starts_with(&MEMBER) {
            Self::parse(path, Gzip::new(&content), magic)
        } else {
            Self::parse(path, content.as_slice(), magic)
        }
    }

    /// Reads the header and as many bytes as it says: a small gzip file can stand for any number.
    fn parse(path: &Path, mut content: impl Read, magic: u32) -> Result<Self> {
        let name = path.display();
        // The last byte of the magic number is the number of dimensions.
        let rank = (magic & 0xff) as usize;
        let header = read_up_to(&mut content, 4 * (1 + rank), path)?;
        let word = |index: usize| -> Result<u32> {
            let bytes = header.get(4 * index..4 * index + 4);
            let bytes = bytes.with_context(|| {
                format!(
                    "{name} ends inside its header, after {} bytes.",
                    header.len()
                )
            })?;
            Ok(u32::from_be_bytes(bytes.try_into()?))
        };
        let found = word(0)?;
        ensure!(
            found == magic,
            "{name} starts with {found:#010x}, but a file of this name starts with {magic:#010x}."
        );
        let mut shape = Vec::with_capacity(rank);
        for dimension in 0..rank {
            let size = word(1 + dimension)? as usize;
            ensure!(size > 0, "{name} says that dimension {dimension} is empty.");
            shape.push(size);
        }
        let expected = shape
            .iter()
            .try_fold(1usize, |product, &size| product.checked_mul(size))
            .with_context(|| format!("{name} gives the impossible shape {shape:?}."))?;
        ensure!(
            expected <= MOST_BYTES,
            "{name} gives the shape {shape:?}, which is {expected} bytes; at most {MOST_BYTES} are read."
        );
        let bytes = read_up_to(&mut content, expected, path)?;
        let present = bytes.len();
        ensure!(
            present == expected,
            "{name} gives the shape {shape:?}, which is {expected} bytes, but {present} bytes follow its header."
        );
        ensure!(
            read_up_to(&mut content, 1, path)?.is_empty(),
            "{name} gives the shape {shape:?}, which is {expected} bytes, but more bytes follow its header."
        );
        Ok(Self {
            path: path.to_owned(),
            shape,
            bytes,
        })
    }

    fn count(&self) -> usize {
        self.shape[0]
    }
}

/// The next `count` bytes, or those up to the end.
fn read_up_to(content: &mut impl Read, count: usize, path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    content
        .take(count as u64)
        .read_to_end(&mut bytes)
        .with_context(|| format!("{} is no whole gzip file", path.display()))?;
    Ok(bytes)
}

/// A gzip file: members one after another, and zeros after the last, as tapes and some tools leave
/// them.
struct Gzip<'a> {
    member: GzDecoder<&'a [u8]>,
}

impl<'a> Gzip<'a> {
    fn new(packed: &'a [u8]) -> Self {
        let member = GzDecoder::new(packed);
        Self { member }
    }
}

impl Read for Gzip<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.member.read(buffer)?;
            let rest = *self.member.get_ref();
            if count > 0 || buffer.is_empty() || rest.iter().all(|&byte| byte == 0) {
                return Ok(count);
            }
            self.member = GzDecoder::new(rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// A folder of its own for each test, removed at its end.
    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            static NUMBER: AtomicU32 = AtomicU32::new(0);
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let path = std::env::temp_dir().join(format!("idx-{}-{number}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn write(&self, name: &str, content: &[u8]) {
            let mut file = std::fs::File::create(self.0.join(name)).unwrap();
            if name.ends_with(".gz") {
                let mut gzip = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
                gzip.write_all(content).unwrap();
                gzip.finish().unwrap();
            } else {
                file.write_all(content).unwrap();
            }
        }

        /// Six training and three test images of 2×3 pixels, in four different spellings.
        fn complete() -> Self {
            let folder = Self::new();
            folder.write("train-images-idx3-ubyte", &images(6));
            folder.write("train-labels.idx1-ubyte", &labels(&[0, 1, 2, 3, 4, 9]));
            folder.write("t10k-images-idx3-ubyte.gz", &images(3));
            folder.write("t10k-labels.idx1-ubyte.gz", &labels(&[7, 8, 9]));
            folder
        }

        fn error(&self) -> String {
            format!("{:#}", load(&self.0, 10).unwrap_err())
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn idx(magic: u32, shape: &[u32], bytes: impl IntoIterator<Item = u8>) -> Vec<u8> {
        let words = std::iter::once(&magic)
            .chain(shape)
            .flat_map(|word| word.to_be_bytes());
        words.chain(bytes).collect()
    }

    fn images(count: u32) -> Vec<u8> {
        idx(
            IMAGES,
            &[count, 2, 3],
            (0..count * 6).map(|pixel| (pixel * 7) as u8),
        )
    }

    fn labels(values: &[u8]) -> Vec<u8> {
        idx(LABELS, &[values.len() as u32], values.iter().copied())
    }

    #[test]
    fn plain_and_gzip_files_in_every_spelling_are_read() {
        let data = load(&Folder::complete().0, 10).unwrap();
        assert_eq!((data.features, data.outputs), (6, 10));
        let (height, width) = (2, 3);
        assert_eq!(data.image, Some(Image { height, width }));
        assert_eq!((data.train.count, data.test.count), (6, 3));
        assert_eq!(data.train.inputs[7], 49.0 / 255.0);
        assert_eq!(data.test.targets[7], 1.0);
    }

    #[test]
    fn a_missing_file_is_named() {
        let folder = Folder::complete();
        std::fs::remove_file(folder.0.join("t10k-labels.idx1-ubyte.gz")).unwrap();
        assert!(
            folder.error().contains("t10k-labels-idx1-ubyte"),
            "{}",
            folder.error()
        );
    }

    #[test]
    fn a_wrong_magic_number_is_shown_beside_the_right_one() {
        let folder = Folder::complete();
        folder.write("train-images-idx3-ubyte", &labels(&[1, 2, 3]));
        let error = folder.error();
        assert!(
            error.contains("0x00000801") && error.contains("0x00000803"),
            "{error}"
        );
    }

    #[test]
    fn a_truncated_file_is_refused_at_every_length() {
        let whole = images(6);
        for length in 0..whole.len() {
            let folder = Folder::complete();
            folder.write("train-images-idx3-ubyte", &whole[..length]);
            let error = folder.error();
            assert!(error.contains("train-images-idx3-ubyte"), "{error}");
            assert!(error.contains("header"), "{error}");
        }
    }

    #[test]
    fn bytes_after_the_end_are_refused() {
        let folder = Folder::complete();
        folder.write("train-images-idx3-ubyte", &[images(6), vec![0]].concat());
        assert!(
            folder.error().contains("36 bytes, but more bytes follow"),
            "{}",
            folder.error()
        );
    }

    #[test]
    fn a_truncated_gzip_file_is_refused() {
        let folder = Folder::complete();
        let path = folder.0.join("t10k-images-idx3-ubyte.gz");
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 9]).unwrap();
        assert!(
            folder.error().contains("no whole gzip file"),
            "{}",
            folder.error()
        );
    }

    #[test]
    fn gzip_is_told_by_contents_has_members_and_may_end_in_zeros() {
        let folder = Folder::complete();
        let path = folder.0.join("t10k-images-idx3-ubyte.gz");
        let expected = load(&folder.0, 10).unwrap().test;
        let whole = std::fs::read(&path).unwrap();
        let found = |content: &[u8]| {
            std::fs::write(&path, content).unwrap();
            load(&folder.0, 10).map(|data| data.test)
        };
        let padded = [&whole[..], &[0; 512]].concat();
        assert_eq!(found(&padded).unwrap(), expected);
        assert_eq!(
            found(&images(3)).unwrap(),
            expected,
            "plain in spite of its name"
        );
        let half = |part: &[u8]| {
            folder.write("half.gz", part);
            std::fs::read(folder.0.join("half.gz")).unwrap()
        };
        let (first, second) = (half(&images(3)[..11]), half(&images(3)[11..]));
        assert_eq!(found(&[first.clone(), second].concat()).unwrap(), expected);
        for rest in [&b"rubbish"[..], &[0, 0, 1], &[0x1f]] {
            let error = found(&[&whole[..], rest].concat()).unwrap_err();
            let error = format!("{error:#}");
            assert!(error.contains("no whole gzip file"), "{error}");
        }
        assert!(found(&first).is_err());
    }

    #[test]
    fn no_more_is_unpacked_than_the_header_says() {
        let path = Path::new("made here");
        // As a small gzip file unpacks to zeros without end.
        let whole = images(3);
        let content = whole.chain(io::repeat(0));
        let error = Idx::parse(path, content, IMAGES).err().unwrap().to_string();
        assert!(error.contains("but more bytes follow"), "{error}");
        let header = idx(IMAGES, &[1 << 20, 32, 33], []);
        let error = Idx::parse(path, header.chain(io::repeat(0)), IMAGES);
        let error = error.err().unwrap().to_string();
        assert!(error.contains("at most 1073741824 are read"), "{error}");
    }

    #[test]
    fn counts_that_disagree_are_both_given() {
        let folder = Folder::complete();
        folder.write("train-labels.idx1-ubyte", &labels(&[0, 1, 2]));
        let error = folder.error();
        assert!(
            error.contains("6 images") && error.contains("3 labels"),
            "{error}"
        );
    }

    #[test]
    fn image_sizes_that_disagree_are_refused() {
        let folder = Folder::complete();
        folder.write(
            "t10k-images-idx3-ubyte.gz",
            &idx(IMAGES, &[3, 2, 2], vec![0; 12]),
        );
        let error = folder.error();
        assert!(
            error.contains("2 × 3 pixels") && error.contains("have 2 × 2"),
            "{error}"
        );
    }

    #[test]
    fn a_label_out_of_range_is_located() {
        let folder = Folder::complete();
        folder.write("train-labels.idx1-ubyte", &labels(&[0, 1, 2, 10, 4, 5]));
        assert!(
            folder.error().contains("label 3 is 10"),
            "{}",
            folder.error()
        );
    }

    #[test]
    fn an_empty_or_impossible_shape_is_refused() {
        let folder = Folder::complete();
        folder.write("train-images-idx3-ubyte", &idx(IMAGES, &[0, 2, 3], []));
        assert!(
            folder.error().contains("dimension 0 is empty"),
            "{}",
            folder.error()
        );
        folder.write("train-images-idx3-ubyte", &idx(IMAGES, &[u32::MAX; 3], []));
        assert!(
            folder.error().contains("impossible shape"),
            "{}",
            folder.error()
        );
    }
}
