//! The largest number of each square, channel by channel.

use ndarray::{Array2, ArrayView1};

use crate::network::architecture::Placed;
use crate::network::cpu::Scalar;

/// Where the largest number of each square lies in the image: the first of equals.
/// `[height, width, channels]` of the output.
fn largest<'a, T: Scalar>(
    placed: &'a Placed,
    size: usize,
    image: ArrayView1<'a, T>,
) -> impl Iterator<Item = usize> + 'a {
    let (input, output) = (placed.input, placed.output);
    (0..output.numbers()).map(move |index| {
        let (pixel, channel) = (index / input.channels, index % input.channels);
        let (top, left) = (pixel / output.width * size, pixel % output.width * size);
        let at =
            |row, column| ((top + row) * input.width + left + column) * input.channels + channel;
        let mut best = at(0, 0);
        for place in (0..size * size).map(|tap| at(tap / size, tap % size)) {
            if image[place] > image[best] {
                best = place;
            }
        }
        best
    })
}

pub fn forward<T: Scalar>(placed: &Placed, size: usize, inputs: &Array2<T>) -> Array2<T> {
    let mut outputs = Array2::zeros((inputs.nrows(), placed.output.numbers()));
    for (image, mut output) in inputs.outer_iter().zip(outputs.outer_iter_mut()) {
        for (output, place) in output.iter_mut().zip(largest(placed, size, image)) {
            *output = image[place];
        }
    }
    outputs
}

/// The first of the largest numbers of a square gets all of its gradient.
pub fn input_gradient<T: Scalar>(
    placed: &Placed,
    size: usize,
    inputs: &Array2<T>,
    delta: &Array2<T>,
) -> Array2<T> {
    let mut gradient = Array2::zeros(inputs.raw_dim());
    for ((image, delta), mut gradient) in inputs
        .outer_iter()
        .zip(delta.outer_iter())
        .zip(gradient.outer_iter_mut())
    {
        for (&delta, place) in delta.iter().zip(largest(placed, size, image)) {
            gradient[place] = delta;
        }
    }
    gradient
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;
    use crate::network::{Layer, Shape};

    #[test]
    fn squares_that_fill_give_their_first_largest_number_and_get_its_gradient() {
        let shape = |height, width| Shape {
            height,
            width,
            channels: 1,
        };
        let placed = Placed {
            layer: Layer::MaxPool { size: 2 },
            input: shape(3, 5),
            output: shape(1, 2),
            activated: false,
        };
        #[rustfmt::skip]
        let image = array![[
            1.0, 4.0,  -2.0, -1.0,  9.0,
            4.0, 4.0,  -1.0, -3.0,  9.0,
            9.0, 9.0,   9.0,  9.0,  9.0,
        ]];
        assert_eq!(forward(&placed, 2, &image), array![[4.0, -1.0]]);
        #[rustfmt::skip]
        let expected = array![[
            0.0, 7.0,   0.0,  8.0,  0.0,
            0.0, 0.0,   0.0,  0.0,  0.0,
            0.0, 0.0,   0.0,  0.0,  0.0,
        ]];
        let gradient = input_gradient(&placed, 2, &image, &array![[7.0, 8.0]]);
        assert_eq!(gradient, expected);
    }
}
