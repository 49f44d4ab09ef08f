use super::{Derivatives, Function, Minimum, Point, Showcase};

/// A narrow curved valley with an almost flat floor. Rosenbrock 1960.
#[derive(Debug, Default)]
pub struct Rosenbrock;

impl Function for Rosenbrock {
    fn name(&self) -> &'static str {
        "rosenbrock"
    }

    fn formula(&self) -> String {
        "(1 − x)² + 100(y − x²)²".into()
    }

    fn about(&self) -> &'static str {
        "A narrow curved valley with an almost flat floor."
    }

    fn domain(&self) -> &'static [[f64; 2]] {
        &[[-2.0, 2.0], [-1.0, 3.0]]
    }

    fn start(&self) -> Point {
        [-1.5, 2.0]
    }

    fn minima(&self) -> Vec<Minimum> {
        vec![Minimum {
            at: [1.0, 1.0],
            value: 0.0,
        }]
    }

    fn derivatives(&self, [x, y]: Point) -> Derivatives {
        let a = 1.0 - x;
        let b = y - x * x;
        Derivatives {
            value: a * a + 100.0 * b * b,
            gradient: [-2.0 * a - 400.0 * x * b, 200.0 * b],
            hessian: [2.0 - 400.0 * b + 800.0 * x * x, -400.0 * x, 200.0],
        }
    }

    fn showcase(&self) -> Showcase {
        Showcase {
            steps: 1000,
            rules: &[
                "sgd:lr=0.001",
                "sgd:lr=0.001:momentum=0.9",
                "rmsprop:lr=0.02",
                "adam:lr=0.05",
                "adagrad:lr=1",
            ],
        }
    }

    fn wgsl(&self) -> &'static str {
        include_str!("rosenbrock.wgsl")
    }
}
