//! Traces made here, good and bad, and those that were recorded.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, TensorView, serialize};
use wgpu_optim::{Gpu, GpuOptions, Layout, hyperparameter::Field, rules};

use super::{Row, Trace, replay};
use crate::problem::Problem;
use crate::skewed::Skewed;

/// A file in the making.
#[derive(Clone)]
struct File {
    tensors: Vec<(String, Dtype, Vec<usize>, Vec<u8>)>,
    metadata: HashMap<String, String>,
}

impl File {
    /// Two steps of SGD on a matrix and a scalar, as a framework would record them.
    fn of_sgd() -> Self {
        let hyper = r#"{"lr": 0.5}"#;
        let metadata = [("rule", "sgd"), ("hyper", hyper), ("source", "by hand")];
        let metadata = metadata.map(|(key, value)| (key.into(), value.into()));
        let mut file = Self {
            tensors: Vec::new(),
            metadata: metadata.into(),
        };
        file.f32("param.layers.0.weight", &[2, 2], &[1.0, 2.0, 3.0, 4.0]);
        file.f32("param.scale", &[], &[1.0]);
        for step in 1..=2 {
            let name = format!("grad.{step}.layers.0.weight");
            file.f32(&name, &[2, 2], &[1.0, -1.0, 0.0, 4.0]);
            file.f32(&format!("grad.{step}.scale"), &[], &[0.5]);
        }
        let (weight, scale) = ("expected.2.layers.0.weight", "expected.2.scale");
        file.f64(weight, &[2, 2], &[0.0, 3.0, 3.0, 0.0]);
        file.f64(scale, &[], &[0.5]);
        file
    }

    fn add(&mut self, name: &str, dtype: Dtype, shape: &[usize], data: Vec<u8>) {
        self.remove(name);
        self.tensors.push((name.into(), dtype, shape.into(), data));
    }

    fn f32(&mut self, name: &str, shape: &[usize], values: &[f32]) {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes());
        self.add(name, Dtype::F32, shape, bytes.collect());
    }

    fn f64(&mut self, name: &str, shape: &[usize], values: &[f64]) {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes());
        self.add(name, Dtype::F64, shape, bytes.collect());
    }

    fn remove(&mut self, name: &str) {
        self.tensors.retain(|(known, ..)| known != name);
    }

    fn set(&mut self, key: &str, value: &str) {
        self.metadata.insert(key.into(), value.into());
    }

    fn bytes(&self) -> Vec<u8> {
        let views = self.tensors.iter().map(|(name, dtype, shape, data)| {
            let view = TensorView::new(*dtype, shape.clone(), data).unwrap();
            (name.clone(), view)
        });
        serialize(views, Some(self.metadata.clone())).unwrap()
    }

    fn trace(&self) -> Trace {
        Trace::parse(&self.bytes()).unwrap()
    }

    /// On both twins.
    fn replayed(&self) -> Row {
        replay("made here".into(), &self.trace(), None).unwrap()
    }

    fn error(&self) -> String {
        error(&self.bytes())
    }
}

fn error(bytes: &[u8]) -> String {
    match Trace::parse(bytes) {
        Ok(_) => panic!("the trace was read"),
        Err(error) => format!("{error:#}"),
    }
}

#[test]
fn a_good_trace_is_right_on_both_twins_and_errors_are_parts_of_the_movement() {
    let row = File::of_sgd().replayed();
    assert!(row.ok, "{:?}", row.failures);
    assert_eq!((row.rule.as_str(), row.steps), ("sgd", 2));
    assert_eq!((row.f64_error, row.f32_error), (0.0, 0.0));
    assert_eq!((row.gpu_error, row.source_f32_error), (None, None));

    let mut file = File::of_sgd();
    file.f64("expected.2.scale", &[], &[0.5 + 1e-6]);
    file.f32(
        "expected_f32.2.layers.0.weight",
        &[2, 2],
        &[0.0, 3.0, 2.0, 0.0],
    );
    let row = file.replayed();
    // The matrix moves by 4.
    assert!((row.f64_error - 2.5e-7).abs() < 1e-15, "{row:?}");
    assert_eq!(row.source_f32_error, Some(0.25));
    assert!(!row.ok);
    let [failure] = &row.failures[..] else {
        panic!("{:?}", row.failures);
    };
    assert!(
        failure.contains("element 0 of \"scale\" after step 2 is 5e-1"),
        "{failure}"
    );
}

#[test]
fn what_is_expected_in_f32_is_right_to_the_rounding_of_f32() {
    let mut file = File::of_sgd();
    file.set("hyper", r#"{"lr": 0.1}"#);
    file.f32("expected.2.scale", &[], &[0.9]);
    file.f32("expected.2.layers.0.weight", &[2, 2], &[0.8, 2.2, 3.0, 3.2]);
    let row = file.replayed();
    assert!(row.ok && row.f64_error > 0.0, "{row:?}");
    file.f32("expected.2.scale", &[], &[0.90001]);
    let failures = file.replayed().failures.join("\n");
    assert!(
        failures.contains("the f64 twin: element 0 of \"scale\""),
        "{failures}"
    );
    assert!(failures.contains("the file says it in F32"), "{failures}");
    // What is said in F64 is held against f64 still.
    file.f32("expected.2.scale", &[], &[0.9]);
    file.f64(
        "expected.2.layers.0.weight",
        &[2, 2],
        &[0.8, 2.2, 3.0, 3.2 + 1e-8],
    );
    let failures = file.replayed().failures.join("\n");
    assert!(failures.contains("at most 1e-10 may be"), "{failures}");
}

#[test]
fn what_f32_cannot_hold_is_not_right() {
    let gpu = Gpu::open_blocking(&GpuOptions::default()).unwrap();
    let mut file = File::of_sgd();
    file.set("hyper", r#"{"lr": 10}"#);
    file.f32("grad.1.scale", &[], &[3e38]);
    let gradient = f64::from(3e38f32);
    file.f64("expected.2.scale", &[], &[1.0 - 10.0 * gradient - 5.0]);
    file.f64(
        "expected.2.layers.0.weight",
        &[2, 2],
        &[-19.0, 22.0, 3.0, -76.0],
    );
    for gpu in [None, Some(&gpu)] {
        let row = replay("made here".into(), &file.trace(), gpu).unwrap();
        assert!(
            !row.ok && row.of_budget.is_none_or(f64::is_finite),
            "{row:?}"
        );
        let failures = row.failures.join("\n");
        assert!(
            failures.contains("f32 does not hold what happens here"),
            "{failures}"
        );
        assert!(!failures.contains("the f64 twin"), "{failures}");
    }
}

#[test]
fn an_f32_twin_that_is_worse_than_the_frameworks_f32_fails() {
    let mut file = File::of_sgd();
    file.f32("expected_f32.2.scale", &[], &[0.5]);
    assert!(file.replayed().ok);
    // 0.1 is no f32: the sum is off by ulps where the framework's is exact.
    file.set("hyper", r#"{"lr": 0.1}"#);
    file.f64("expected.2.scale", &[], &[0.9]);
    file.f64("expected.2.layers.0.weight", &[2, 2], &[0.8, 2.2, 3.0, 3.2]);
    file.f32("expected_f32.2.scale", &[], &[0.9]);
    assert!(file.replayed().ok, "{:?}", file.replayed());
    // Far more than ulps.
    file.f64("expected.2.scale", &[], &[0.90001]);
    file.f32("expected_f32.2.scale", &[], &[0.90001]);
    let failures = file.replayed().failures.join("\n");
    assert!(
        failures.contains("the f32 twin: element 0 of \"scale\""),
        "{failures}"
    );
}

#[test]
fn a_list_of_rates_has_one_for_each_step() {
    let mut file = File::of_sgd();
    file.set("hyper", r#"{"lr": [0.5, 0.25]}"#);
    file.f64(
        "expected.2.layers.0.weight",
        &[2, 2],
        &[0.25, 2.75, 3.0, 1.0],
    );
    file.f64("expected.2.scale", &[], &[0.625]);
    assert!(file.replayed().ok, "{:?}", file.replayed());
    file.set("hyper", r#"{"lr": [0.5]}"#);
    let error = file.error();
    assert!(error.contains("lr lists 1 values; expected 2"), "{error}");
}

#[test]
fn inputs_are_filled_before_the_steps_that_the_file_says() {
    let mut file = File::of_sgd();
    file.set("rule", "newton");
    file.set("hyper", r#"{"lr": 1, "damping": 1e-30}"#);
    file.f32("hessian.1.layers.0.weight", &[2, 2], &[1.0, -1.0, 1.0, 4.0]);
    file.f32("hessian.1.scale", &[], &[0.5]);
    file.f32("hessian.2.layers.0.weight", &[2, 2], &[0.5, 1.0, 1.0, 1.0]);
    file.f32("hessian.2.scale", &[], &[0.25]);
    file.f64(
        "expected.2.layers.0.weight",
        &[2, 2],
        &[-2.0, 4.0, 3.0, -1.0],
    );
    file.f64("expected.2.scale", &[], &[-2.0]);
    assert!(file.replayed().ok, "{:?}", file.replayed());
    file.remove("hessian.2.scale");
    let error = file.error();
    assert_eq!(error, "tensor \"hessian.2.scale\" is missing");
}

#[test]
fn parameters_to_evaluate_with_and_state_may_be_expected_too() {
    let mut file = File::of_sgd();
    file.set("rule", "schedulefree_sgd");
    file.set("hyper", r#"{"lr": 1, "momentum": 0.5}"#);
    // z is 0.5 after the first step, then 0; x their mean; y half of the way between x and z.
    file.remove("expected.2.layers.0.weight");
    file.f64("expected.2.scale", &[], &[0.125]);
    file.f64("evaluated.2.scale", &[], &[0.25]);
    file.f64("evaluated.1.scale", &[], &[0.5]);
    file.f64("expected_z.2.scale", &[], &[0.0]);
    assert!(file.replayed().ok, "{:?}", file.replayed());
    for (name, right) in [
        ("evaluated.2.scale", 0.25),
        ("expected.2.scale", 0.125),
        ("expected_z.2.scale", 0.0),
    ] {
        let mut file = file.clone();
        file.f64(name, &[], &[right + 0.01]);
        assert!(!file.replayed().ok, "{name}");
    }
}

#[test]
fn whatever_is_wrong_in_a_file_is_named() {
    type Change = fn(&mut File);
    let cases: &[(Change, &str)] = &[
        (
            |f| f.set("rule", "addam"),
            "unknown rule \"addam\"; expected one of: sgd",
        ),
        (
            |f| f.set("hyper", r#"{"lt": 1}"#),
            "no hyperparameter \"lt\"",
        ),
        (
            |f| f.set("hyper", r#"{"lr": -1}"#),
            "lr = -1 is not allowed",
        ),
        (|f| f.set("hyper", r#"{"nesterov": true}"#), "nesterov"),
        (
            |f| f.set("hyper", r#"{"lr": [0.1, -1]}"#),
            "lr lists -1; expected numbers of at least 0",
        ),
        (|f| f.set("hyper", "{lr: 1}"), "hyper is no JSON object"),
        (
            |f| {
                f.metadata.remove("rule");
            },
            "the metadata lacks \"rule\"",
        ),
        (
            |f| {
                f.metadata.remove("hyper");
            },
            "the metadata lacks \"hyper\"",
        ),
        (|f| f.metadata.clear(), "the metadata lacks"),
        (|f| f.tensors.clear(), "there is no parameter"),
        (
            |f| f.remove("param.scale"),
            "has no start: there is no \"param.scale\"",
        ),
        (
            |f| f.remove("grad.1.scale"),
            "tensor \"grad.1.scale\" is missing",
        ),
        (
            |f| f.tensors.retain(|(name, ..)| !name.starts_with("grad")),
            "there is no gradient: expected \"grad.1.layers.0.weight\"",
        ),
        (
            |f| f.tensors.retain(|(name, ..)| !name.starts_with("expected")),
            "nothing says what is right: expected \"expected.2.layers.0.weight\"",
        ),
        (
            |f| f.f32("grad.2.scale", &[1], &[1.0]),
            "tensor \"grad.2.scale\" has the shape [1]; expected []",
        ),
        (
            |f| f.f64("expected.2.layers.0.weight", &[4], &[0.0; 4]),
            "tensor \"expected.2.layers.0.weight\" has the shape [4]; expected [2, 2]",
        ),
        (
            |f| f.f32("grad.1.layers.0.weight", &[2, 3], &[0.0; 6]),
            "tensor \"grad.1.layers.0.weight\" has the shape [2, 3]; expected [2, 2]",
        ),
        (
            |f| f.f64("param.scale", &[], &[1.0]),
            "tensor \"param.scale\" is of F64; expected F32",
        ),
        (
            |f| f.f64("grad.1.scale", &[], &[1.0]),
            "tensor \"grad.1.scale\" is of F64; expected F32",
        ),
        (
            |f| f.add("expected.2.scale", Dtype::F16, &[], vec![0; 2]),
            "tensor \"expected.2.scale\" is of F16; expected F32 or F64",
        ),
        (
            |f| {
                f.f32(
                    "grad.1.layers.0.weight",
                    &[2, 2],
                    &[0.0, 0.0, f32::NAN, 0.0],
                )
            },
            "tensor \"grad.1.layers.0.weight\": element 2 is NaN",
        ),
        (
            |f| f.f32("param.scale", &[], &[f32::INFINITY]),
            "tensor \"param.scale\": element 0 is inf",
        ),
        (
            |f| f.f64("expected.2.scale", &[], &[f64::NAN]),
            "tensor \"expected.2.scale\": element 0 is NaN",
        ),
        (
            |f| f.f64("expected.3.scale", &[], &[0.5]),
            "tensor \"expected.3.scale\": gradients go up to step 2",
        ),
        (
            |f| f.f32("expected_f32.1.scale", &[], &[0.5]),
            "tensor \"expected_f32.1.scale\" has no place",
        ),
        (
            |f| f.f32("hessian.1.scale", &[], &[0.5]),
            "tensor \"hessian.1.scale\" has no place in a trace of sgd",
        ),
        (
            |f| f.f32("expected_momentum_buffer.1.scale", &[], &[0.5]),
            "has no place in a trace of sgd",
        ),
        (
            |f| f.f32("weights", &[], &[0.5]),
            "tensor \"weights\" is none of a trace",
        ),
        (
            |f| f.f32("grad.one.scale", &[], &[0.5]),
            "tensor \"grad.one.scale\" is none of a trace",
        ),
        (
            |f| f.f32("grad.2.", &[], &[0.5]),
            "tensor \"grad.2.\" lacks the name",
        ),
        (
            |f| f.f32("param.empty", &[0], &[]),
            "\"empty\" of shape [0]",
        ),
    ];
    for (change, expected) in cases {
        let mut file = File::of_sgd();
        change(&mut file);
        let error = file.error();
        assert!(
            error.contains(expected),
            "expected {expected:?} in {error:?}"
        );
    }
}

#[test]
fn a_file_cut_off_anywhere_is_refused() {
    let bytes = File::of_sgd().bytes();
    for length in 0..bytes.len() {
        let error = error(&bytes[..length]);
        assert!(error.contains("no complete .safetensors file"), "{error}");
    }
    let longer = [&bytes[..], &[0]].concat();
    assert!(error(&longer).contains("no complete .safetensors file"));
    assert!(error(&[0xff; 100]).contains("no complete .safetensors file"));
}

/// The traces that `tests/traces/record.py` recorded.
fn recorded() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/traces");
    let entries = folder.read_dir().unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|end| end == "safetensors"));
    files.sort();
    files
}

#[test]
fn every_recorded_trace_is_right_on_the_gpu_and_both_twins() {
    let gpu = Gpu::open_blocking(&GpuOptions::default()).unwrap();
    let files = recorded();
    assert!(!files.is_empty());
    for path in files {
        let file = path.display().to_string();
        let trace = Trace::read(&path).unwrap_or_else(|error| panic!("{file}: {error:#}"));
        let row = replay(file.clone(), &trace, Some(&gpu)).unwrap();
        assert!(
            row.gpu_error.is_some() && row.source_f32_error.is_some(),
            "{file}"
        );
        assert!(row.ok, "{file}: {:#?}", row.failures);
    }
}

#[test]
fn every_flag_and_choice_of_every_rule_is_in_a_recorded_trace() {
    let mut recorded: Vec<_> = recorded()
        .iter()
        .map(|path| Trace::read(path).unwrap().rule)
        .collect();
    for name in rules::names() {
        for field in rules::by_name(name).unwrap().hyperparameters() {
            let values: Vec<String> = match &field.field {
                Field::Flag(_) => vec!["true".into(), "false".into()],
                Field::Choice(choice) => choice.names().iter().map(|s| s.to_string()).collect(),
                _ => continue,
            };
            for value in values {
                let mut of_rule = recorded.iter_mut().filter(|rule| rule.name() == name);
                let has_it = of_rule.any(|rule| {
                    let fields = rule.hyperparameters();
                    let same = fields.iter().find(|other| other.name == field.name);
                    same.is_some_and(|same| same.value() == value)
                });
                assert!(has_it, "no trace of {name} has {} = {value}", field.name);
            }
        }
    }
}

#[test]
fn recorded_traces_are_long_and_varied() {
    for path in recorded() {
        let file = path.display();
        let Problem { layout, grads, .. } = Trace::read(&path).unwrap().problem;
        // Those of a rule's defaults are longer than those of its variants.
        let is_variant = path.file_stem().unwrap().to_string_lossy().contains('-');
        let least = if is_variant { 30 } else { 100 };
        assert!(grads.len() >= least, "{file}");
        let mut shapes: Vec<_> = layout.tensors().map(|t| layout.shape(t).unwrap()).collect();
        shapes.dedup();
        assert!(shapes.len() >= 3, "{file}: {shapes:?}");
        let all: Vec<f32> = grads.iter().flatten().flatten().copied().collect();
        assert!(all.contains(&0.0), "{file}");
        let sizes = || all.iter().map(|g| g.abs()).filter(|g| *g > 0.0);
        let (least, most) = (
            sizes().fold(f32::MAX, f32::min),
            sizes().fold(0.0, f32::max),
        );
        assert!(most / least > 1e4, "{file}: from {least} to {most}");
        for tensor in 0..3 {
            let signs = grads.iter().map(|step| step[tensor][0] > 0.0);
            let turns = signs.clone().zip(signs.skip(1)).filter(|(a, b)| a != b);
            assert!(turns.count() > 0, "{file}");
        }
    }
}

#[test]
fn a_gpu_that_is_off_fails_alone_and_says_where() {
    let gpu = Gpu::open_blocking(&GpuOptions::default()).unwrap();
    let mut trace = File::of_sgd().trace();
    for (lr, is_right) in [("now.lr", true), ("(1.00001 * now.lr)", false)] {
        let mut layout = Layout::new();
        let group = layout.group(Skewed::new(0.5, lr)).unwrap();
        layout.tensor(group, "layers.0.weight", &[2, 2]).unwrap();
        layout.tensor(group, "scale", &[]).unwrap();
        trace.problem.layout = layout;
        let row = replay("skewed".into(), &trace, Some(&gpu)).unwrap();
        assert_eq!(row.ok, is_right, "{row:?}");
        let failures = row.failures.join("\n");
        let names_it = failures.contains("the GPU: element 3 of \"layers.0.weight\" after step 2");
        assert_eq!(names_it, !is_right, "{failures}");
    }
}
