use super::{Derivatives, Function, Minimum, Point, Showcase, extremum};

/// Four minima of the same depth. Himmelblau 1972.
#[derive(Debug, Default)]
pub struct Himmelblau;

impl Function for Himmelblau {
    fn name(&self) -> &'static str {
        "himmelblau"
    }

    fn formula(&self) -> String {
        "(x² + y − 11)² + (x + y² − 7)²".into()
    }

    fn about(&self) -> &'static str {
        "Four minima of the same depth: the rule decides which of them it finds."
    }

    fn domain(&self) -> &'static [[f64; 2]] {
        &[[-5.0, 5.0], [-5.0, 5.0]]
    }

    fn start(&self) -> Point {
        [0.0, 0.0]
    }

    fn minima(&self) -> Vec<Minimum> {
        let guesses = [[3.0, 2.0], [-2.8, 3.1], [-3.8, -3.3], [3.6, -1.8]];
        guesses
            .map(|guess| extremum::near(self, guess))
            .to_vec()
    }

    fn derivatives(&self, [x, y]: Point) -> Derivatives {
        let a = x * x + y - 11.0;
        let b = x + y * y - 7.0;
        Derivatives {
            value: a * a + b * b,
            gradient: [4.0 * x * a + 2.0 * b, 2.0 * a + 4.0 * y * b],
            hessian: [
                4.0 * a + 8.0 * x * x + 2.0,
                4.0 * (x + y),
                2.0 + 4.0 * b + 8.0 * y * y,
            ],
        }
    }

    fn showcase(&self) -> Showcase {
        Showcase {
            steps: 100,
            rules: &[
                "sgd:lr=0.01",
                "sgd:lr=0.01:momentum=0.9",
                "adam:lr=0.3",
                "lion:lr=0.15",
                "rprop:lr=0.1",
            ],
        }
    }

    fn wgsl(&self) -> &'static str {
        include_str!("himmelblau.wgsl")
    }
}
