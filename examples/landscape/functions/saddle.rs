use super::{Derivatives, Function, Minimum, Point, Showcase};

/// A pass between two hills, from which the ground falls forever.
#[derive(Debug, Default)]
pub struct Saddle;

impl Function for Saddle {
    fn name(&self) -> &'static str {
        "saddle"
    }

    fn formula(&self) -> String {
        "x² − y²".into()
    }

    fn about(&self) -> &'static str {
        "A pass between two hills: the start is almost on its ridge, where the slope points the wrong way."
    }

    fn domain(&self) -> &'static [[f64; 2]] {
        &[[-2.0, 2.0], [-2.0, 2.0]]
    }

    fn start(&self) -> Point {
        [-1.5, 0.001]
    }

    fn minima(&self) -> Vec<Minimum> {
        Vec::new()
    }

    fn derivatives(&self, [x, y]: Point) -> Derivatives {
        Derivatives {
            value: x * x - y * y,
            gradient: [2.0 * x, -2.0 * y],
            hessian: [2.0, 0.0, -2.0],
        }
    }

    fn showcase(&self) -> Showcase {
        Showcase {
            steps: 100,
            rules: &[
                "sgd:lr=0.02",
                "sgd:lr=0.02:momentum=0.9",
                "rmsprop:lr=0.02",
                "adam:lr=0.05",
                "newton:lr=0.2",
            ],
        }
    }

    fn wgsl(&self) -> &'static str {
        include_str!("saddle.wgsl")
    }
}
