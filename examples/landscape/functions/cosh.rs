use super::{Derivatives, Function, Minimum, Point, Showcase};

/// Steep and convex, with a curvature that grows with the slope: where Newton's method shines.
#[derive(Debug, Default)]
pub struct Cosh;

impl Function for Cosh {
    fn name(&self) -> &'static str {
        "cosh"
    }

    fn formula(&self) -> String {
        "cosh(x/2)".into()
    }

    fn about(&self) -> &'static str {
        "Steep and convex, with a curvature that grows with the slope: Newton's method shines."
    }

    fn domain(&self) -> &'static [[f64; 2]] {
        &[[-10.0, 10.0]]
    }

    fn start(&self) -> Point {
        [9.0, 0.0]
    }

    fn minima(&self) -> Vec<Minimum> {
        vec![Minimum {
            at: [0.0, 0.0],
            value: 1.0,
        }]
    }

    fn derivatives(&self, [x, _]: Point) -> Derivatives {
        // Beyond, it would be more than an f32 holds.
        let x = (0.5 * x).clamp(-80.0, 80.0);
        Derivatives {
            value: x.cosh(),
            gradient: [0.5 * x.sinh(), 0.0],
            hessian: [0.25 * x.cosh(), 0.0, 0.0],
        }
    }

    fn showcase(&self) -> Showcase {
        Showcase {
            steps: 30,
            rules: &[
                "sgd:lr=0.1",
                "sgd:lr=0.1:momentum=0.5",
                "adam:lr=1",
                "rprop:lr=1",
                "newton",
            ],
        }
    }

    fn wgsl(&self) -> &'static str {
        include_str!("cosh.wgsl")
    }
}
