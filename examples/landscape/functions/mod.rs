//! The functions that optimizers descend: one pair of files each here, `<name>.wgsl` for the device
//! and `<name>.rs` for its twin in f64.

mod extremum;
#[cfg(test)]
mod tests;

use std::fmt;

use anyhow::{Result, anyhow};

/// x and y; y is zero where a function has one dimension.
pub type Point = [f64; 2];

/// What a function is at a point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Derivatives {
    pub value: f64,
    pub gradient: [f64; 2],
    /// xx, xy and yy.
    pub hessian: [f64; 3],
}

/// A local minimum, and the function's value there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Minimum {
    pub at: Point,
    pub value: f64,
}

/// Rules as users write them, and how many steps they take, unless the user says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Showcase {
    pub steps: u64,
    /// SGD and Adam among them.
    pub rules: &'static [&'static str],
}

/// A function of one or two variables to be minimised: the WGSL text of its derivatives and their
/// twin in f64.
///
/// The WGSL text declares
///
/// ```wgsl
/// fn derivatives(p: vec2<f32>) -> Derivatives
/// ```
///
/// with the `Derivatives` of `derivatives.wgsl`, and an `override` for each of the
/// [constants](Self::constants).
pub trait Function: fmt::Debug + Send + Sync {
    /// What users type.
    fn name(&self) -> &'static str;

    /// As people write it.
    fn formula(&self) -> String;

    /// What it is like, in a sentence.
    fn about(&self) -> &'static str;

    /// The least and the largest value of each variable: where starts may lie, and what pictures
    /// show.
    fn domain(&self) -> &'static [[f64; 2]];

    /// Where optimizers begin unless the user says otherwise.
    fn start(&self) -> Point;

    /// All local minima in the domain. None where the function falls forever.
    fn minima(&self) -> Vec<Minimum>;

    fn derivatives(&self, p: Point) -> Derivatives;

    /// What shows how optimizers differ here.
    fn showcase(&self) -> Showcase;

    fn wgsl(&self) -> &'static str;

    /// The WGSL text's `override` declarations by name.
    fn constants(&self) -> Vec<(&'static str, f64)> {
        Vec::new()
    }

    /// The same function with another ratio of its largest curvature to its smallest, where it has
    /// such a thing.
    fn with_condition(&self, _condition: f64) -> Option<Box<dyn Function>> {
        None
    }
}

impl dyn Function + '_ {
    /// How many variables it has: 1 or 2.
    pub fn dimensions(&self) -> usize {
        self.domain().len()
    }

    /// The lowest of its minima.
    pub fn lowest(&self) -> Option<Minimum> {
        let minima = self.minima().into_iter();
        minima.min_by(|a, b| a.value.total_cmp(&b.value))
    }

    /// Whether `p` is finite and within the domain.
    pub fn admits(&self, p: Point) -> bool {
        let within = |(x, [least, most]): (&f64, &[f64; 2])| (least..=most).contains(&x);
        p.iter().zip(self.domain()).all(within)
    }

    /// The domain in words.
    pub fn domain_text(&self) -> String {
        let names = ["x", "y"].into_iter().zip(self.domain());
        let ranges = names.map(|(name, [least, most])| format!("{name} from {least} to {most}"));
        ranges.collect::<Vec<_>>().join(" and ")
    }
}

/// Makes a function with its default constants.
type Make = fn() -> Box<dyn Function>;

/// Declares each function's module, which bears the name that users type.
macro_rules! registry {
    ($($name:ident::$Function:ident,)*) => {
        $(mod $name;)*

        const REGISTRY: &[(&str, Make)] =
            &[$((stringify!($name), || Box::new($name::$Function::default()))),*];
    };
}

// One line per function.
registry! {
    quadratic::Quadratic,
    rosenbrock::Rosenbrock,
    beale::Beale,
    himmelblau::Himmelblau,
    rastrigin::Rastrigin,
    ackley::Ackley,
    styblinski_tang::StyblinskiTang,
    saddle::Saddle,
    local_minimum::LocalMinimum,
    vanishing::Vanishing,
    cosh::Cosh,
    gaussians::Gaussians,
}

/// The names that [`by_name`] knows.
pub fn names() -> impl ExactSizeIterator<Item = &'static str> {
    REGISTRY.iter().map(|(name, _)| *name)
}

/// A function with its default constants.
pub fn by_name(name: &str) -> Result<Box<dyn Function>> {
    let found = REGISTRY.iter().find(|(known, _)| *known == name);
    let (_, make) = found.ok_or_else(|| {
        let known: Vec<_> = names().collect();
        anyhow!(
            "There is no function {name:?}: expected one of {}.",
            known.join(", ")
        )
    })?;
    Ok(make())
}
