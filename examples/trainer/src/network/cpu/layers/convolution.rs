//! A convolution as a matrix product: the patch of pixels around every pixel is a row, and each filter
//! a row of the weights, both `[channels, kernel, kernel]`.

use anyhow::Result;
use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis};

use super::Weights;
use crate::network::Shape;
use crate::network::cpu::Scalar;

/// Patches are made for so many numbers at a time: together they would be `kernel²` times the
/// images, and would leave the cache before they are used.
const NUMBERS_AT_A_TIME: usize = 1 << 16;

/// The patches of images of one shape.
struct Patches {
    /// For each number of an image's patches, its place in the image; none beyond the edges.
    /// `[pixels, channels, kernel, kernel]`
    places: Vec<Option<usize>>,
    pixels: usize,
    /// Numbers of a patch.
    length: usize,
}

impl Patches {
    fn new(image: Shape, kernel: usize) -> Self {
        let Shape {
            height,
            width,
            channels,
        } = image;
        let shift = |position: usize, tap: usize, size: usize| {
            (position + tap)
                .checked_sub(kernel / 2)
                .filter(|&shifted| shifted < size)
        };
        let mut places = Vec::with_capacity(height * width * channels * kernel * kernel);
        for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
            for channel in 0..channels {
                for tap in 0..kernel * kernel {
                    let row = shift(y, tap / kernel, height);
                    let column = shift(x, tap % kernel, width);
                    let pixel = row.zip(column).map(|(row, column)| row * width + column);
                    places.push(pixel.map(|pixel| pixel * channels + channel));
                }
            }
        }
        Self {
            places,
            pixels: height * width,
            length: channels * kernel * kernel,
        }
    }

    /// How many images to take at a time.
    fn images_at_a_time(&self) -> usize {
        NUMBERS_AT_A_TIME.div_ceil(self.places.len())
    }

    /// `[images · pixels, length]`
    fn unfold<T: Scalar>(&self, images: &ArrayView2<'_, T>) -> Result<Array2<T>> {
        let mut patches = Vec::with_capacity(images.nrows() * self.places.len());
        for image in images.outer_iter() {
            let at = |&place: &Option<usize>| place.map_or(T::zero(), |place| image[place]);
            patches.extend(self.places.iter().map(at));
        }
        let shape = (images.nrows() * self.pixels, self.length);
        Ok(Array2::from_shape_vec(shape, patches)?)
    }

    /// Adds every number of the patches to the pixel that it came from.
    fn fold<T: Scalar>(&self, patches: &Array2<T>, mut images: ArrayViewMut2<'_, T>) {
        let per_image = patches.axis_chunks_iter(Axis(0), self.pixels);
        for (mut image, patches) in images.outer_iter_mut().zip(per_image) {
            for (place, &number) in self.places.iter().zip(&patches) {
                if let Some(place) = *place {
                    image[place] += number;
                }
            }
        }
    }
}

/// `[rows, pixels · filters]` as `[rows · pixels, filters]`.
fn by_pixel<'a, T>(rows: ArrayView2<'a, T>, pixels: usize) -> Result<ArrayView2<'a, T>> {
    let shape = (rows.nrows() * pixels, rows.ncols() / pixels);
    Ok(rows.into_shape_with_order(shape)?)
}

pub fn forward<T: Scalar>(
    image: Shape,
    kernel: usize,
    inputs: &Array2<T>,
    weights: &Weights<'_, T>,
) -> Result<Array2<T>> {
    let patches = Patches::new(image, kernel);
    let mut sums = Array2::zeros((inputs.nrows(), patches.pixels * weights.bias.len()));
    let at_a_time = patches.images_at_a_time();
    for (images, mut sums) in inputs
        .axis_chunks_iter(Axis(0), at_a_time)
        .zip(sums.axis_chunks_iter_mut(Axis(0), at_a_time))
    {
        let products = patches.unfold(&images)?.dot(&weights.weight.t()) + weights.bias;
        let shape = sums.raw_dim();
        sums.assign(&products.into_shape_with_order(shape)?);
    }
    Ok(sums)
}

/// Adds δᵀ·patches to `kept` times the gradient that is there.
pub fn weight_gradient<T: Scalar>(
    image: Shape,
    kernel: usize,
    inputs: &Array2<T>,
    delta: &Array2<T>,
    mut kept: T,
    mut gradient: ArrayViewMut2<'_, T>,
) -> Result<()> {
    let patches = Patches::new(image, kernel);
    let at_a_time = patches.images_at_a_time();
    for (images, delta) in inputs
        .axis_chunks_iter(Axis(0), at_a_time)
        .zip(delta.axis_chunks_iter(Axis(0), at_a_time))
    {
        let delta = by_pixel(delta, patches.pixels)?;
        let images = patches.unfold(&images)?;
        general_mat_mul(T::one(), &delta.t(), &images, kept, &mut gradient);
        kept = T::one();
    }
    Ok(())
}

pub fn input_gradient<T: Scalar>(
    image: Shape,
    kernel: usize,
    delta: &Array2<T>,
    weights: &Weights<'_, T>,
) -> Result<Array2<T>> {
    let patches = Patches::new(image, kernel);
    let at_a_time = patches.images_at_a_time();
    let mut gradient = Array2::zeros((delta.nrows(), image.numbers()));
    for (delta, gradient) in delta
        .axis_chunks_iter(Axis(0), at_a_time)
        .zip(gradient.axis_chunks_iter_mut(Axis(0), at_a_time))
    {
        let delta = by_pixel(delta, patches.pixels)?;
        patches.fold(&delta.dot(&weights.weight), gradient);
    }
    Ok(gradient)
}
