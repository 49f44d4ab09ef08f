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
        let products = patches.unfold(&images)?.dot(&weights.weight.t()) + &weights.bias;
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

#[cfg(test)]
mod tests {
    use ndarray::Array1;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const IMAGE: Shape = Shape {
        height: 5,
        width: 7,
        channels: 2,
    };
    const FILTERS: usize = 3;

    /// The sum over channels and taps, one by one.
    fn naive(
        image: &[f64],
        kernel: usize,
        weight: &Array2<f64>,
        [y, x, filter]: [usize; 3],
    ) -> f64 {
        let mut sum = 0.0;
        for channel in 0..IMAGE.channels {
            for down in 0..kernel {
                for right in 0..kernel {
                    let row = (y + down) as isize - (kernel / 2) as isize;
                    let column = (x + right) as isize - (kernel / 2) as isize;
                    let inside = (0..IMAGE.height as isize).contains(&row)
                        && (0..IMAGE.width as isize).contains(&column);
                    if inside {
                        let pixel = row as usize * IMAGE.width + column as usize;
                        sum += weight[[filter, (channel * kernel + down) * kernel + right]]
                            * image[pixel * IMAGE.channels + channel];
                    }
                }
            }
        }
        sum
    }

    #[test]
    fn a_convolution_is_the_sum_over_all_taps() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let mut array =
            |shape| Array2::from_shape_simple_fn(shape, || random.random_range(-1.0..1.0));
        for kernel in [1, 3, 5, 9] {
            let weight: Array2<f64> = array((FILTERS, IMAGE.channels * kernel * kernel));
            // More images than are taken at a time with kernels of 5.
            let images = array((100, IMAGE.numbers()));
            let bias = Array1::from_vec(vec![0.5, -0.25, 0.0]);
            let weights = Weights {
                weight: weight.view().into(),
                bias: bias.view().into(),
            };
            let found = forward(IMAGE, kernel, &images, &weights).unwrap();
            for (image, found) in images.outer_iter().zip(found.outer_iter()) {
                let image = image.to_vec();
                for (place, found) in found.iter().enumerate() {
                    let (pixel, filter) = (place / FILTERS, place % FILTERS);
                    let at = [pixel / IMAGE.width, pixel % IMAGE.width, filter];
                    let expected = bias[filter] + naive(&image, kernel, &weight, at);
                    assert!(
                        (found - expected).abs() < 1e-12,
                        "{kernel}, {at:?}: {found} instead of {expected}"
                    );
                }
            }
        }
    }

    #[test]
    fn images_taken_a_few_at_a_time_leave_the_gradient_of_all_together() {
        let mut random = ChaCha8Rng::seed_from_u64(2);
        let mut array =
            |shape| Array2::from_shape_simple_fn(shape, || random.random_range(-1.0..1.0));
        let patches = Patches::new(IMAGE, 5);
        let count = 2 * patches.images_at_a_time() + 1;
        let images: Array2<f64> = array((count, IMAGE.numbers()));
        let delta = array((count, IMAGE.pixels() * FILTERS));
        let start: Array2<f64> = array((FILTERS, IMAGE.channels * 25));
        for kept in [0.0, 1.0] {
            let mut found = start.clone();
            weight_gradient(IMAGE, 5, &images, &delta, kept, found.view_mut()).unwrap();
            let all = patches.unfold(&images.view()).unwrap();
            let sum = by_pixel(delta.view(), patches.pixels)
                .unwrap()
                .t()
                .dot(&all);
            let expected = kept * &start + sum;
            let largest = (found - expected).fold(0.0, |a: f64, b| a.max(b.abs()));
            assert!(largest < 1e-9, "{largest}");
        }
    }
}
