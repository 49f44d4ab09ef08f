//! Activations and their derivatives: the CPU's side of `shaders/activations/`.

use super::Scalar;
use crate::network::Activation;

impl Activation {
    pub(super) fn value<T: Scalar>(self, z: T) -> T {
        match self {
            Self::Relu => z.max(T::zero()),
            Self::Tanh => z.tanh(),
            Self::Sigmoid => sigmoid(z),
            Self::Gelu => T::from_f64(0.5) * z * (T::one() + gelu_inner(z).tanh()),
        }
    }

    pub(super) fn derivative<T: Scalar>(self, z: T) -> T {
        match self {
            Self::Relu => {
                if z > T::zero() {
                    T::one()
                } else {
                    T::zero()
                }
            }
            Self::Tanh => T::one() - z.tanh() * z.tanh(),
            Self::Sigmoid => sigmoid(z) * (T::one() - sigmoid(z)),
            Self::Gelu => {
                let half = T::from_f64(0.5);
                let c = clamp_gelu(z);
                let t = gelu_inner(c).tanh();
                let slope =
                    T::from_f64(SQRT_2_OVER_PI) * (T::one() + T::from_f64(3.0 * CUBIC) * c * c);
                half * (T::one() + t) + half * c * (T::one() - t * t) * slope
            }
        }
    }
}

const SQRT_2_OVER_PI: f64 = 0.797_884_560_8;
const CUBIC: f64 = 0.044_715;

/// Beyond ±10 GELU is straight; without the limits z³ could overflow.
fn clamp_gelu<T: Scalar>(z: T) -> T {
    z.max(T::from_f64(-10.0)).min(T::from_f64(10.0))
}

/// √(2/π)(z + 0.044715 z³): what GELU's tanh form takes the tanh of.
fn gelu_inner<T: Scalar>(z: T) -> T {
    let c = clamp_gelu(z);
    T::from_f64(SQRT_2_OVER_PI) * (c + T::from_f64(CUBIC) * c * c * c)
}

/// exp only of numbers up to 0, where it cannot overflow.
pub(super) fn sigmoid<T: Scalar>(z: T) -> T {
    let e = (-z.abs()).exp();
    if z < T::zero() {
        e / (T::one() + e)
    } else {
        T::one() / (T::one() + e)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn activations_have_their_published_values() {
        for (activation, z, expected) in [
            (Activation::Relu, -2.0, 0.0),
            (Activation::Relu, 2.0, 2.0),
            (Activation::Tanh, 0.5, 0.462_117_157_260),
            (Activation::Sigmoid, 1.0, 0.731_058_578_630),
            // Hendrycks & Gimpel's tanh form, as torch's gelu(approximate="tanh").
            (Activation::Gelu, 1.0, 0.841_191_990_608),
            (Activation::Gelu, -0.5, -0.154_285_990_174),
        ] {
            let found: f64 = activation.value(z);
            assert!(
                (found - expected).abs() < 1e-9,
                "{activation:?}({z}) = {found}"
            );
        }
    }
}
