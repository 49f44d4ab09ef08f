use super::{Derivatives, Function, Minimum, Point, Showcase, extremum};

/// Four minima, of which one is the lowest. Styblinski & Tang 1990.
#[derive(Debug, Default)]
pub struct StyblinskiTang;

impl Function for StyblinskiTang {
    fn name(&self) -> &'static str {
        "styblinski_tang"
    }

    fn formula(&self) -> String {
        "½(x⁴ − 16x² + 5x + y⁴ − 16y² + 5y)".into()
    }

    fn about(&self) -> &'static str {
        "Four minima, of which one is the lowest."
    }

    fn domain(&self) -> &'static [[f64; 2]] {
        &[[-5.0, 5.0], [-5.0, 5.0]]
    }

    fn start(&self) -> Point {
        [0.0, 4.5]
    }

    fn minima(&self) -> Vec<Minimum> {
        let guesses = [[-2.9, -2.9], [-2.9, 2.7], [2.7, -2.9], [2.7, 2.7]];
        guesses
            .map(|guess| extremum::near(self, guess))
            .to_vec()
    }

    fn derivatives(&self, p: Point) -> Derivatives {
        let terms = p.map(|x| x.powi(4) - 16.0 * x * x + 5.0 * x);
        let bend = p.map(|x| 6.0 * x * x - 16.0);
        Derivatives {
            value: 0.5 * (terms[0] + terms[1]),
            gradient: p.map(|x| 2.0 * x.powi(3) - 16.0 * x + 2.5),
            hessian: [bend[0], 0.0, bend[1]],
        }
    }

    fn showcase(&self) -> Showcase {
        Showcase {
            steps: 100,
            rules: &[
                "sgd:lr=0.01",
                "sgd:lr=0.01:momentum=0.9",
                "adam:lr=0.5",
                "lion:lr=0.2",
                "adagrad:lr=3",
            ],
        }
    }

    fn wgsl(&self) -> &'static str {
        include_str!("styblinski_tang.wgsl")
    }
}
