use std::f64::consts::{E, PI, SQRT_2};

use super::{Derivatives, Function, Minimum, Point, Showcase, extremum};

/// A funnel with ripples: flat far out, with a pointed minimum in the middle. Ackley 1987.
#[derive(Debug, Default)]
pub struct Ackley;

impl Function for Ackley {
    fn name(&self) -> &'static str {
        "ackley"
    }

    fn formula(&self) -> String {
        "20 + e − 20 exp(−0.2 √(½(x² + y²))) − exp(½(cos(2πx) + cos(2πy)))".into()
    }

    fn about(&self) -> &'static str {
        "A funnel with ripples: flat far out, with a pointed minimum in the middle."
    }

    fn domain(&self) -> &'static [[f64; 2]] {
        &[[-5.0, 5.0], [-5.0, 5.0]]
    }

    fn start(&self) -> Point {
        [-3.6, 2.6]
    }

    /// The tip, which Newton's method cannot find since there is no slope, and those around it.
    fn minima(&self) -> Vec<Minimum> {
        let mut minima = extremum::near_whole_numbers(self, 5);
        minima.retain(|minimum| (self as &dyn Function).admits(minimum.at));
        let tip = Minimum {
            at: [0.0, 0.0],
            value: 0.0,
        };
        minima.retain(|minimum| minimum.at != tip.at);
        minima.insert(0, tip);
        minima
    }

    fn derivatives(&self, [x, y]: Point) -> Derivatives {
        let [sx, sy] = [x, y].map(|x| (2.0 * PI * x).sin());
        let [cx, cy] = [x, y].map(|x| (2.0 * PI * x).cos());
        let ripples = (0.5 * (cx + cy)).exp();
        let r = x.hypot(y) / SQRT_2;
        let cone = (-0.2 * r).exp();
        // At the tip, which has no slope, it counts as flat.
        let (rx, ry, bend) = if r > 0.0 {
            (x / r, y / r, cone / r)
        } else {
            (0.0, 0.0, 0.0)
        };
        let wave = PI * PI * ripples;
        Derivatives {
            value: 20.0 + E - 20.0 * cone - ripples,
            gradient: [
                2.0 * cone * rx + PI * ripples * sx,
                2.0 * cone * ry + PI * ripples * sy,
            ],
            hessian: [
                bend * (2.0 - rx * rx) - 0.2 * cone * rx * rx + wave * (2.0 * cx - sx * sx),
                -bend * rx * ry - 0.2 * cone * rx * ry - wave * sx * sy,
                bend * (2.0 - ry * ry) - 0.2 * cone * ry * ry + wave * (2.0 * cy - sy * sy),
            ],
        }
    }

    fn showcase(&self) -> Showcase {
        Showcase {
            steps: 200,
            rules: &[
                "sgd:lr=0.02",
                "sgd:lr=0.02:momentum=0.9",
                "adam:lr=0.2",
                "adagrad:lr=2",
                "rprop:lr=0.5",
            ],
        }
    }

    fn wgsl(&self) -> &'static str {
        include_str!("ackley.wgsl")
    }
}
