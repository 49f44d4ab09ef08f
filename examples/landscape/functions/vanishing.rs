use super::{Derivatives, Function, Minimum, Point, Showcase};

/// A slope that is hardly there at the start, as in a saturated network.
#[derive(Debug, Default)]
pub struct Vanishing;

impl Function for Vanishing {
    fn name(&self) -> &'static str {
        "vanishing"
    }

    fn formula(&self) -> String {
        "tanh(x)".into()
    }

    fn about(&self) -> &'static str {
        "A slope that is hardly there at the start, as in a saturated network."
    }

    fn domain(&self) -> &'static [[f64; 2]] {
        &[[-4.0, 6.0]]
    }

    fn start(&self) -> Point {
        [4.0, 0.0]
    }

    fn minima(&self) -> Vec<Minimum> {
        Vec::new()
    }

    fn derivatives(&self, [x, _]: Point) -> Derivatives {
        let x = x.clamp(-40.0, 40.0);
        let height = x.tanh();
        let slope = x.cosh().recip().powi(2);
        Derivatives {
            value: height,
            gradient: [slope, 0.0],
            hessian: [-2.0 * height * slope, 0.0, 0.0],
        }
    }

    fn showcase(&self) -> Showcase {
        Showcase {
            steps: 100,
            rules: &[
                "sgd:lr=1",
                "sgd:lr=1:momentum=0.9",
                "adagrad:lr=1",
                "adam:lr=0.1",
                "rmsprop:lr=0.05",
            ],
        }
    }

    fn wgsl(&self) -> &'static str {
        include_str!("vanishing.wgsl")
    }
}
