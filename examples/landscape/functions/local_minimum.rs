use std::f64::consts::PI;

use super::{Derivatives, Function, Minimum, Point, Showcase, extremum};

/// A shallow minimum before the deep one: what momentum may roll through.
#[derive(Debug, Default)]
pub struct LocalMinimum;

impl Function for LocalMinimum {
    fn name(&self) -> &'static str {
        "local_minimum"
    }

    fn formula(&self) -> String {
        "x cos(πx)".into()
    }

    fn about(&self) -> &'static str {
        "A shallow minimum before the deep one: momentum may roll through it."
    }

    fn domain(&self) -> &'static [[f64; 2]] {
        &[[-1.0, 2.0]]
    }

    fn start(&self) -> Point {
        [-0.9, 0.0]
    }

    fn minima(&self) -> Vec<Minimum> {
        [-0.27, 1.09]
            .map(|guess| extremum::near(self, [guess, 0.0]))
            .to_vec()
    }

    fn derivatives(&self, [x, _]: Point) -> Derivatives {
        let (s, c) = (PI * x).sin_cos();
        Derivatives {
            value: x * c,
            gradient: [c - PI * x * s, 0.0],
            hessian: [-2.0 * PI * s - PI * PI * x * c, 0.0, 0.0],
        }
    }

    fn showcase(&self) -> Showcase {
        Showcase {
            steps: 60,
            rules: &[
                "sgd:lr=0.02",
                "sgd:lr=0.02:momentum=0.9",
                "adam:lr=0.05",
                "adam:lr=0.2",
                "lion:lr=0.05",
            ],
        }
    }

    fn wgsl(&self) -> &'static str {
        include_str!("local_minimum.wgsl")
    }
}
