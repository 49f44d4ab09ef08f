use super::{Derivatives, Function, Minimum, Point, Showcase};

/// A bowl that is √K times as narrow as it is long: what momentum and preconditioning are for.
#[derive(Debug)]
pub struct Quadratic {
    /// K, the Hessian's condition number.
    condition: f64,
}

impl Default for Quadratic {
    fn default() -> Self {
        Self { condition: 10.0 }
    }
}

impl Function for Quadratic {
    fn name(&self) -> &'static str {
        "quadratic"
    }

    fn formula(&self) -> String {
        format!("½(x² + {} y²)", self.condition)
    }

    fn about(&self) -> &'static str {
        "A bowl that is longer than it is wide: momentum and preconditioning are for it."
    }

    fn domain(&self) -> &'static [[f64; 2]] {
        &[[-5.0, 5.0], [-3.0, 3.0]]
    }

    fn start(&self) -> Point {
        [-4.5, 2.0]
    }

    fn minima(&self) -> Vec<Minimum> {
        vec![Minimum {
            at: [0.0, 0.0],
            value: 0.0,
        }]
    }

    fn derivatives(&self, [x, y]: Point) -> Derivatives {
        let k = self.condition;
        Derivatives {
            value: 0.5 * (x * x + k * y * y),
            gradient: [x, k * y],
            hessian: [1.0, 0.0, k],
        }
    }

    fn showcase(&self) -> Showcase {
        Showcase {
            steps: 100,
            rules: &[
                "sgd:lr=0.18",
                "sgd:lr=0.05:momentum=0.9",
                "rmsprop:lr=0.1",
                "adam:lr=0.3",
                "newton_dense",
            ],
        }
    }

    fn wgsl(&self) -> &'static str {
        include_str!("quadratic.wgsl")
    }

    fn constants(&self) -> Vec<(&'static str, f64)> {
        vec![("CONDITION", self.condition)]
    }

    fn with_condition(&self, condition: f64) -> Option<Box<dyn Function>> {
        Some(Box::new(Self { condition }))
    }
}
