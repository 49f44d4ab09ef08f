use std::f64::consts::PI;

use super::{Derivatives, Function, Minimum, Point, Showcase, extremum};

/// A bowl with a minimum near every point of whole numbers. Rastrigin 1974.
#[derive(Debug, Default)]
pub struct Rastrigin;

impl Function for Rastrigin {
    fn name(&self) -> &'static str {
        "rastrigin"
    }

    fn formula(&self) -> String {
        "20 + x² − 10 cos(2πx) + y² − 10 cos(2πy)".into()
    }

    fn about(&self) -> &'static str {
        "A bowl with a minimum near every point of whole numbers."
    }

    fn domain(&self) -> &'static [[f64; 2]] {
        &[[-5.12, 5.12], [-5.12, 5.12]]
    }

    fn start(&self) -> Point {
        [4.3, 3.4]
    }

    fn minima(&self) -> Vec<Minimum> {
        extremum::near_whole_numbers(self, 5)
    }

    fn derivatives(&self, p: Point) -> Derivatives {
        let angle = p.map(|x| 2.0 * PI * x);
        let terms = [0, 1].map(|i| p[i] * p[i] - 10.0 * angle[i].cos());
        let bend = angle.map(|angle| 2.0 + 40.0 * PI * PI * angle.cos());
        Derivatives {
            value: 20.0 + terms[0] + terms[1],
            gradient: [0, 1].map(|i| 2.0 * p[i] + 20.0 * PI * angle[i].sin()),
            hessian: [bend[0], 0.0, bend[1]],
        }
    }

    fn showcase(&self) -> Showcase {
        Showcase {
            steps: 200,
            rules: &[
                "sgd:lr=0.002",
                "sgd:lr=0.001:momentum=0.98",
                "adam:lr=0.5",
                "lion:lr=0.3",
                // Found by --function rastrigin --rules sophia --tune --candidates 1024.
                "sophia:lr=0.394:beta1=0.9061:beta2=0.99563:rho=0.101",
            ],
        }
    }

    fn wgsl(&self) -> &'static str {
        include_str!("rastrigin.wgsl")
    }
}
