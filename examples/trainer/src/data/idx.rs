//! MNIST's IDX files: a big-endian magic number, one big-endian size per dimension, then bytes.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use super::{Dataset, Image, Labelled, Samples, Task};

const IMAGES: u32 = 0x0000_0803;
const LABELS: u32 = 0x0000_0801;
const BRIGHTEST: f32 = 255.0;

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
        let mut content =
            std::fs::read(path).with_context(|| format!("Cannot read {}.", path.display()))?;
        // By its contents, since not everyone keeps the ending.
        let named_gzip = path.extension().is_some_and(|ending| ending == "gz");
        if named_gzip || content.starts_with(&[0x1f, 0x8b]) {
            let packed = std::mem::take(&mut content);
            flate2::read::MultiGzDecoder::new(packed.as_slice())
                .read_to_end(&mut content)
                .with_context(|| format!("{} is no whole gzip file", path.display()))?;
        }
        Self::parse(path, &content, magic)
    }

    fn parse(path: &Path, content: &[u8], magic: u32) -> Result<Self> {
        let word = |index: usize| -> Option<u32> {
            let bytes = content.get(4 * index..4 * index + 4)?;
            Some(u32::from_be_bytes(bytes.try_into().ok()?))
        };
        let name = path.display();
        let too_short = || {
            format!(
                "{name} ends inside its header, after {} bytes.",
                content.len()
            )
        };
        let found = word(0).with_context(too_short)?;
        ensure!(
            found == magic,
            "{name} starts with {found:#010x}, but a file of this name starts with {magic:#010x}."
        );
        // The last byte of the magic number is the number of dimensions.
        let rank = (magic & 0xff) as usize;
        let mut shape = Vec::with_capacity(rank);
        for dimension in 0..rank {
            let size = word(1 + dimension).with_context(too_short)? as usize;
            ensure!(size > 0, "{name} says that dimension {dimension} is empty.");
            shape.push(size);
        }
        let header = 4 * (1 + rank);
        let expected = shape
            .iter()
            .try_fold(1usize, |product, &size| product.checked_mul(size))
            .with_context(|| format!("{name} gives the impossible shape {shape:?}."))?;
        let present = content.len() - header;
        ensure!(
            present == expected,
            "{name} gives the shape {shape:?}, which is {expected} bytes, but {present} bytes follow its header."
        );
        Ok(Self {
            path: path.to_owned(),
            shape,
            bytes: content[header..].to_vec(),
        })
    }

    fn count(&self) -> usize {
        self.shape[0]
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
            folder.error().contains("37 bytes follow"),
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
