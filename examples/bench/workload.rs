//! What is stepped: how many tensors of which shapes.

use std::{fmt, str::FromStr};

use wgpu_optim::{Error, Formats, Layout, Rule};

/// Tensors of one parameter group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Workload {
    /// A number of equal vectors.
    Vectors { tensors: usize, elements: usize },
    /// ViT-Ti/16 (Touvron 2021, arXiv:2012.12877): 152 tensors, 5.7 M parameters.
    VitTiny,
}

impl Workload {
    /// The workloads of one entry of `--sizes`.
    pub fn parse(text: &str) -> Result<Vec<Self>, String> {
        let expected = || {
            format!(
                "{text:?}: expected elements (2^24), a range of them (2^10..2^26), tensors x elements (5000x64) or vit-tiny"
            )
        };
        let one = |elements| Self::Vectors {
            tensors: 1,
            elements,
        };
        if text == "vit-tiny" {
            return Ok(vec![Self::VitTiny]);
        }
        if let Some((first, last)) = text.split_once("..") {
            let power = |text| count(text).filter(|elements| elements.is_power_of_two());
            let (first, last) = power(first).zip(power(last)).ok_or_else(expected)?;
            let sizes = std::iter::successors(Some(first), |size| Some(2 * size));
            let sizes: Vec<_> = sizes.take_while(|size| *size <= last).map(one).collect();
            return match sizes.is_empty() {
                true => Err(expected()),
                false => Ok(sizes),
            };
        }
        let Some((tensors, elements)) = text.split_once('x') else {
            return Ok(vec![one(count(text).ok_or_else(expected)?)]);
        };
        let (tensors, elements) = count(tensors).zip(count(elements)).ok_or_else(expected)?;
        tensors.checked_mul(elements).ok_or_else(expected)?;
        Ok(vec![Self::Vectors { tensors, elements }])
    }

    /// As `--sizes` takes it.
    pub fn argument(&self) -> String {
        self.to_string().replace(" × ", "x")
    }

    /// The shapes of its tensors.
    pub fn shapes(&self) -> Vec<Vec<usize>> {
        match self {
            Self::Vectors { tensors, elements } => vec![vec![*elements]; *tensors],
            Self::VitTiny => vit_tiny(),
        }
    }

    /// All elements of all tensors.
    pub fn element_count(&self) -> usize {
        let shapes = self.shapes();
        shapes
            .iter()
            .map(|shape| shape.iter().product::<usize>())
            .sum()
    }

    pub fn tensor_count(&self) -> usize {
        self.shapes().len()
    }

    /// One group of `rule` with these tensors, stored in `formats`.
    pub fn layout(&self, rule: Box<dyn Rule>, formats: Formats) -> Result<Layout, Error> {
        let mut layout = Layout::new();
        let group = layout.group_in(rule, formats)?;
        for (index, shape) in self.shapes().iter().enumerate() {
            layout.tensor(group, &index.to_string(), shape)?;
        }
        Ok(layout)
    }

    /// One vector of as many elements.
    pub fn as_one_tensor(&self) -> Self {
        Self::Vectors {
            tensors: 1,
            elements: self.element_count(),
        }
    }
}

/// A positive number: 1000, 1_000 or 2^10.
fn count(text: &str) -> Option<usize> {
    let number = match text.trim().split_once('^') {
        Some((base, power)) => {
            let base = usize::from_str(base).ok()?;
            base.checked_pow(power.parse().ok()?)?
        }
        None => text.trim().replace('_', "").parse().ok()?,
    };
    (number > 0).then_some(number)
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let power = |count: usize| match count.is_power_of_two() && count >= 1024 {
            true => format!("2^{}", count.ilog2()),
            false => count.to_string(),
        };
        match self {
            Self::VitTiny => f.pad("vit-tiny"),
            Self::Vectors {
                tensors: 1,
                elements,
            } => f.pad(&power(*elements)),
            Self::Vectors { tensors, elements } => f.pad(&format!("{tensors} × {elements}")),
        }
    }
}

/// In the order of PyTorch's `vit_tiny_patch16_224`.
fn vit_tiny() -> Vec<Vec<usize>> {
    const WIDTH: usize = 192;
    let linear = |out: usize, into: usize| [vec![out, into], vec![out]];
    let norm = [vec![WIDTH], vec![WIDTH]];
    let block = [
        norm.clone(),
        linear(3 * WIDTH, WIDTH),
        linear(WIDTH, WIDTH),
        norm.clone(),
        linear(4 * WIDTH, WIDTH),
        linear(WIDTH, 4 * WIDTH),
    ]
    .concat();
    let mut shapes = vec![vec![1, 1, WIDTH], vec![1, 197, WIDTH]];
    shapes.extend([vec![WIDTH, 3, 16, 16], vec![WIDTH]]);
    shapes.extend(std::iter::repeat_n(block, 12).flatten());
    shapes.extend(norm);
    shapes.extend(linear(1000, WIDTH));
    shapes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_numbers_powers_ranges_and_products() {
        let sizes = |text| Workload::parse(text).unwrap();
        let counts = |text| -> Vec<_> { sizes(text).iter().map(Workload::element_count).collect() };
        assert_eq!(counts("2^10..2^12"), vec![1024, 2048, 4096]);
        assert_eq!(counts("1_000"), vec![1000]);
        assert_eq!(counts("5000x64"), vec![320_000]);
        assert_eq!(sizes("5000x64")[0].tensor_count(), 5000);
        assert_eq!(sizes("2^24")[0].to_string(), "2^24");
    }

    #[test]
    fn what_is_printed_for_another_process_is_read_as_the_same() {
        for text in ["1000", "2^24", "5000x64", "1000x16384", "vit-tiny"] {
            let workloads = Workload::parse(text).unwrap();
            assert_eq!(
                Workload::parse(&workloads[0].argument()).unwrap(),
                workloads
            );
        }
    }

    #[test]
    fn other_sizes_are_answered_with_what_was_expected() {
        for text in [
            "",
            "0",
            "2^",
            "3x",
            "x3",
            "2^12..2^10",
            "3..5",
            "2^99",
            "-1",
        ] {
            let error = Workload::parse(text).unwrap_err();
            assert!(error.contains("expected elements"), "{text}: {error}");
        }
    }

    #[test]
    fn the_transformer_has_its_published_number_of_parameters() {
        assert_eq!(Workload::VitTiny.element_count(), 5_717_416);
        assert_eq!(Workload::VitTiny.tensor_count(), 152);
    }
}
