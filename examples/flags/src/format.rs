//! Formats on the command line.

use wgpu_optim::{Format, Formats};

/// The format of parameters of that name.
pub fn of_params(name: &str) -> Result<Format, String> {
    named(name, Formats::PARAMS)
}

/// The format of gradients of that name.
pub fn of_grads(name: &str) -> Result<Format, String> {
    named(name, Formats::GRADS)
}

/// The format of state of that name.
pub fn of_state(name: &str) -> Result<Format, String> {
    named(name, Formats::STATE)
}

/// The format of sensitive state of that name.
pub fn of_sensitive(name: &str) -> Result<Format, String> {
    named(name, Formats::SENSITIVE)
}

/// What the name of f32 with a copy begins with.
const WITH_COPY: &str = "f32+";

/// Those of parameters, gradients and state, such as `bf16+8/bf16/int8`, and of sensitive state if there are
/// four, such as `bf16/bf16/int8/bf16`. A single name, such as `int8`, is the state's, and all else is f32.
/// Parameters may be f32 with a copy, such as `f32+bf16`; that alone is their name, and all else is f32.
pub fn of_all(text: &str) -> Result<Formats, String> {
    let parts: Vec<_> = text.split('/').collect();
    let f32 = Formats::default();
    match parts[..] {
        [params] if params.starts_with(WITH_COPY) => with_params(params, f32),
        [state] => Ok(Formats {
            state: of_state(state)?,
            ..f32
        }),
        [params, grads, state, ref rest @ ..] if rest.len() < 2 => {
            let sensitive = rest.first().map(|name| of_sensitive(name));
            with_params(
                params,
                Formats {
                    grads: of_grads(grads)?,
                    state: of_state(state)?,
                    sensitive: sensitive.transpose()?.unwrap_or_default(),
                    ..f32
                },
            )
        }
        _ => Err(
            "expected the format of the state, such as int8, or those of parameters, gradients and state, \
             such as bf16/bf16/int8, and of sensitive state behind them"
                .to_owned(),
        ),
    }
}

/// These formats with parameters of that name, and their copy if it names one.
fn with_params(name: &str, formats: Formats) -> Result<Formats, String> {
    Ok(match name.strip_prefix(WITH_COPY) {
        Some(copy) => Formats {
            copy: Some(named(copy, Formats::COPIES)?),
            ..formats
        },
        None => Formats {
            params: of_params(name)?,
            ..formats
        },
    })
}

/// What [`of_all`] takes.
pub fn name(formats: &Formats) -> String {
    let Formats {
        params,
        grads,
        state,
        sensitive,
        copy,
        ..
    } = formats;
    let params = match copy {
        Some(copy) => format!("{WITH_COPY}{copy}"),
        None => params.to_string(),
    };
    if *sensitive != Format::F32 {
        return format!("{params}/{grads}/{state}/{sensitive}");
    }
    match (&params[..], grads, state) {
        ("f32", Format::F32, _) => state.to_string(),
        (_, Format::F32, Format::F32) if copy.is_some() => params,
        _ => format!("{params}/{grads}/{state}"),
    }
}

fn named(name: &str, formats: &[Format]) -> Result<Format, String> {
    let found = formats.iter().find(|format| format.name() == name);
    found.copied().ok_or_else(|| {
        let names: Vec<_> = formats.iter().map(|format| format.name()).collect();
        format!("expected one of: {}", names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_have_names_and_others_are_refused() {
        for &format in Formats::STATE {
            assert_eq!(of_state(format.name()), Ok(format));
        }
        for name in ["f16", "fp8", ""] {
            assert_eq!(
                of_state(name).unwrap_err(),
                "expected one of: f32, bf16, int8"
            );
        }
        let error = of_params("f16").unwrap_err();
        assert!(
            error.starts_with("expected one of: f32, bf16, bf16+8"),
            "{error}"
        );
        let error = of_grads("int8").unwrap_err();
        assert_eq!(error, "expected one of: f32, f16, bf16");
    }

    #[test]
    fn one_name_is_that_of_the_state_and_several_are_those_of_all() {
        for text in [
            "f32",
            "int8",
            "bf16/bf16/int8",
            "bf16+8/f16/f32",
            "bf16/f32/f32",
            "f32+bf16",
            "f32+f16/f32/int8",
            "f32+bf16/f16/f32",
            "f32/f32/f32/bf16",
            "f32+bf16/f32/int8/bf16",
        ] {
            assert_eq!(name(&of_all(text).unwrap()), text);
        }
        let copied = of_all("f32+f16").unwrap();
        assert_eq!(
            (copied.params, copied.copy),
            (Format::F32, Some(Format::F16))
        );
        let all = of_all("bf16+8/f16/int8").unwrap();
        let formats = [all.params, all.grads, all.state];
        assert_eq!(formats, [Format::Bf16Plus8, Format::F16, Format::Int8]);
        for (text, expected) in [
            ("bf16/int8", "parameters, gradients and state"),
            ("f32/f32/f32/int8", "expected one of: f32, bf16"),
            ("f16/f16/f32", "expected one of: f32, bf16, bf16+8"),
            ("f32+int8", "expected one of: f16, bf16"),
            ("bf16+f16/f32/f32", "expected one of: f32, bf16, bf16+8"),
            ("", "expected one of: f32, bf16, int8"),
        ] {
            let error = of_all(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
