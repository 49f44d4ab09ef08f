//! Formats of state on the command line.

use wgpu_optim::{Format, Formats};

/// The format of state of that name.
pub fn of_state(name: &str) -> Result<Format, String> {
    let found = Formats::STATE.iter().find(|format| format.name() == name);
    found.copied().ok_or_else(|| {
        let names: Vec<_> = Formats::STATE.iter().map(|format| format.name()).collect();
        format!("expected one of: {}", names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_of_state_have_names_and_others_are_refused() {
        for &format in Formats::STATE {
            assert_eq!(of_state(format.name()), Ok(format));
        }
        for name in ["f16", "fp8", ""] {
            assert_eq!(
                of_state(name).unwrap_err(),
                "expected one of: f32, bf16, int8"
            );
        }
    }
}
