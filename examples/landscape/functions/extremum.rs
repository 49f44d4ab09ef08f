//! Minima that no formula gives.

use super::{Function, Minimum, Point};

/// Newton steps from a guess to a root of f64's precision: they double the digits, and a guess has
/// two.
const STEPS: usize = 20;

/// The minimum that Newton's method finds from a guess near it.
pub fn near(function: &dyn Function, guess: Point) -> Minimum {
    let mut at = guess;
    for _ in 0..STEPS {
        let derivatives = function.derivatives(at);
        let [gx, gy] = derivatives.gradient;
        let [xx, xy, yy] = derivatives.hessian;
        if function.dimensions() == 1 {
            at[0] -= gx / xx;
        } else {
            let determinant = xx * yy - xy * xy;
            at[0] -= (yy * gx - xy * gy) / determinant;
            at[1] -= (xx * gy - xy * gx) / determinant;
        }
    }
    Minimum {
        at,
        value: function.derivatives(at).value,
    }
}

/// [`near`] each point of whole numbers from `-most` to `most`.
pub fn near_whole_numbers(function: &dyn Function, most: i32) -> Vec<Minimum> {
    let numbers = || (-most..=most).map(f64::from);
    let guesses = numbers().flat_map(|x| numbers().map(move |y| [x, y]));
    guesses.map(|guess| near(function, guess)).collect()
}
