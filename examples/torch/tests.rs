use std::fs;

use super::*;

/// Those of sample.py, which wrote what is in sample/.
const GROUPS: [&str; 2] = [
    "adamw:lr=0.01:amsgrad=max_raw fc.weight=4x3",
    "asgd:lr=0.1:lambd=0.05:t0=2 fc.bias=4",
];

fn sample(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/torch/sample");
    folder.join(name).with_extension("safetensors")
}

fn of_sample() -> Layout {
    layout(&GROUPS.map(|group| group.parse().unwrap())).unwrap()
}

/// An optimizer that goes on from a file of the sample for as many times five steps.
fn resumed(name: &str, times: usize) -> Box<dyn Resumes> {
    let layout = of_sample();
    let mut optimizer = On::F64.open(&layout).unwrap();
    let checkpoint = Checkpoint::open(sample(name)).unwrap();
    optimizer.load(&checkpoint).unwrap();
    for _ in 0..times {
        take_steps(&mut *optimizer, &layout, Dtype::F64, &sample("grads")).unwrap();
    }
    optimizer
}

/// All numbers that `optimizer` saves, by name.
fn numbers(optimizer: &dyn Resumes, name: &str) -> Vec<(String, Vec<f64>)> {
    let path = std::env::temp_dir().join(format!("wgpu-optim-torch-{name}-{}", std::process::id()));
    optimizer.save(&path).unwrap();
    let bytes = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensors = file.tensors().into_iter().map(|(name, tensor)| {
        let numbers = match tensor.dtype() {
            Dtype::F64 => bytemuck::pod_collect_to_vec(tensor.data()),
            _ => vec![f64::from(f32::from_le_bytes(
                tensor.data().try_into().unwrap(),
            ))],
        };
        (name, numbers)
    });
    let mut tensors: Vec<_> = tensors.collect();
    tensors.sort_by(|(name, _), (other, _)| name.cmp(other));
    tensors
}

/// After five steps in PyTorch, the next five here give what they give there. Five more of both show
/// that counts and ASGD's rate, which are no tensors, came along.
#[test]
fn what_from_torch_wrote_goes_on_as_in_pytorch() {
    for more in [0, 1] {
        let found = numbers(&*resumed("before", 1 + more), "found");
        let expected = numbers(&*resumed("after", more), "expected");
        let names: Vec<_> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            names,
            [
                "model.fc.bias",
                "model.fc.weight",
                "state.fc.bias.ax",
                "state.fc.bias.step",
                "state.fc.weight.exp_avg",
                "state.fc.weight.exp_avg_sq",
                "state.fc.weight.max_exp_avg_sq",
                "state.fc.weight.step",
            ]
        );
        for ((name, found), (_, expected)) in found.iter().zip(&expected) {
            assert_eq!(found.len(), expected.len(), "{name}");
            for (found, expected) in found.iter().zip(expected) {
                let difference = (found - expected).abs();
                assert!(
                    difference <= 1e-13,
                    "{more}, {name}: {found}, not {expected}"
                );
            }
        }
    }
}

#[test]
fn the_callers_texts_came_along() {
    let checkpoint = Checkpoint::open(sample("after")).unwrap();
    assert_eq!(checkpoint.user()["epoch"], "2");
}

#[test]
fn gradients_of_another_type_or_shape_are_refused() {
    let mut optimizer = On::F32.open(&of_sample()).unwrap();
    let mut refused = |layout: &Layout| {
        let error = take_steps(&mut *optimizer, layout, Dtype::F32, &sample("grads"));
        format!("{:#}", error.unwrap_err())
    };
    let text = refused(&of_sample());
    assert!(
        text.contains("expected F32 of [steps] and [4, 3], found F64 of [5, 4, 3]"),
        "{text}"
    );
    let other = layout(&["adam other=2".parse().unwrap()]).unwrap();
    assert!(refused(&other).contains("grad.other"));
}

#[test]
fn a_wrong_group_is_answered_with_what_was_expected() {
    for text in ["adam w", "adam w=4y3", "adam w=x", "addam w=4"] {
        let error = text.parse::<GroupText>().unwrap_err();
        assert!(error.contains("expected"), "{text}: {error}");
    }
    let scalar = layout(&["adam scale=".parse().unwrap()]).unwrap();
    let tensor = scalar.find("scale").unwrap();
    assert!(scalar.shape(tensor).unwrap().is_empty());
}
