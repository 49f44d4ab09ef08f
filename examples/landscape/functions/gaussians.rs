use std::f64::consts::PI;

use super::{Derivatives, Function, Minimum, Point, Showcase, extremum};

/// Four tilted pits in a plain: minus the density of a mixture of normal distributions.
#[derive(Debug, Default)]
pub struct Gaussians;

const MEANS: [Point; 4] = [[-2.0, -2.0], [2.0, -2.0], [-2.0, 2.0], [2.0, 2.0]];

impl Function for Gaussians {
    fn name(&self) -> &'static str {
        "gaussians"
    }

    fn formula(&self) -> String {
        "−¼ Σ N((x, y); (±2, ±2), [[1, ½], [½, 1]])".into()
    }

    fn about(&self) -> &'static str {
        "Four tilted pits in a plain: minus the density of a mixture of normal distributions."
    }

    fn domain(&self) -> &'static [[f64; 2]] {
        &[[-5.0, 5.0], [-5.0, 5.0]]
    }

    fn start(&self) -> Point {
        [-0.2, 0.6]
    }

    fn minima(&self) -> Vec<Minimum> {
        MEANS.map(|mean| extremum::near(self, mean)).to_vec()
    }

    fn derivatives(&self, [x, y]: Point) -> Derivatives {
        let mut found = Derivatives {
            value: 0.0,
            gradient: [0.0; 2],
            hessian: [0.0; 3],
        };
        let peak = 0.25 / (2.0 * PI * 0.75f64.sqrt());
        for [mean_x, mean_y] in MEANS {
            let [dx, dy] = [x - mean_x, y - mean_y];
            let [px, py] = [(4.0 * dx - 2.0 * dy) / 3.0, (4.0 * dy - 2.0 * dx) / 3.0];
            let height = peak * (-0.5 * (dx * px + dy * py)).max(-80.0).exp();
            found.value -= height;
            found.gradient[0] += height * px;
            found.gradient[1] += height * py;
            found.hessian[0] += height * (4.0 / 3.0 - px * px);
            found.hessian[1] += height * (-2.0 / 3.0 - px * py);
            found.hessian[2] += height * (4.0 / 3.0 - py * py);
        }
        found
    }

    fn showcase(&self) -> Showcase {
        Showcase {
            steps: 100,
            rules: &[
                "sgd:lr=1",
                "sgd:lr=1:momentum=0.9",
                "rmsprop:lr=0.05",
                "adam:lr=0.1",
                "lion:lr=0.05",
            ],
        }
    }

    fn wgsl(&self) -> &'static str {
        include_str!("gaussians.wgsl")
    }
}
