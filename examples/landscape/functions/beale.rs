use super::{Derivatives, Function, Minimum, Point, Showcase};

/// Plateaus and steep walls around one minimum. Beale 1958.
#[derive(Debug, Default)]
pub struct Beale;

impl Function for Beale {
    fn name(&self) -> &'static str {
        "beale"
    }

    fn formula(&self) -> String {
        "(1.5 − x + xy)² + (2.25 − x + xy²)² + (2.625 − x + xy³)²".into()
    }

    fn about(&self) -> &'static str {
        "Plateaus and steep walls around one minimum."
    }

    fn domain(&self) -> &'static [[f64; 2]] {
        &[[-4.5, 4.5], [-4.5, 4.5]]
    }

    fn start(&self) -> Point {
        [1.0, 1.5]
    }

    fn minima(&self) -> Vec<Minimum> {
        vec![Minimum {
            at: [3.0, 0.5],
            value: 0.0,
        }]
    }

    fn derivatives(&self, [x, y]: Point) -> Derivatives {
        let [mut value, mut gradient, mut hessian] = [[0.0; 3]; 3];
        for (index, c) in [1.5, 2.25, 2.625].into_iter().enumerate() {
            let k = index as i32 + 1;
            let residual = c - x + x * y.powi(k);
            let by_x = y.powi(k) - 1.0;
            let slope = f64::from(k) * y.powi(k - 1);
            let by_y = x * slope;
            // The second derivative of y is zero, and not 0·y⁻¹.
            let bend = if k == 1 { 0.0 } else { y.powi(k - 2) };
            let by_yy = x * f64::from(k * (k - 1)) * bend;
            value[0] += residual * residual;
            gradient[0] += 2.0 * residual * by_x;
            gradient[1] += 2.0 * residual * by_y;
            hessian[0] += 2.0 * by_x * by_x;
            hessian[1] += 2.0 * (by_x * by_y + residual * slope);
            hessian[2] += 2.0 * (by_y * by_y + residual * by_yy);
        }
        Derivatives {
            value: value[0],
            gradient: [gradient[0], gradient[1]],
            hessian,
        }
    }

    fn showcase(&self) -> Showcase {
        Showcase {
            steps: 400,
            rules: &[
                "sgd:lr=0.01",
                "sgd:lr=0.01:momentum=0.8",
                "rmsprop:lr=0.03",
                "adam:lr=0.1",
                "adagrad:lr=0.8",
            ],
        }
    }

    fn wgsl(&self) -> &'static str {
        include_str!("beale.wgsl")
    }
}
