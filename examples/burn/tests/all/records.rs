//! Out into burn's records and in again, through burn's own files and checkpointers.

use burn::module::{Module, ParamGroup};
use burn::optim::OptimizerRecord;
use burn::store::ModuleRecord;
use burn::train::checkpoint::{Checkpointer, FileCheckpointer};
use wgpu_optim_burn::rules::{Adam, AdamW, Muon, Prodigy, Sgd};
use wgpu_optim_burn::{Clip, Format, Formats, FusedOptimizer, LossScale, Options};

use crate::support::{Cnn, Gradients, Transformer, device, gradients, values};

/// An optimizer with groups, formats and options that keep state of all kinds.
fn rich() -> FusedOptimizer {
    let options = Options {
        clip: Clip::GlobalNorm(1.0),
        loss_scale: Some(LossScale::default()),
        ..Default::default()
    };
    let small = Formats {
        state: Format::Int8,
        ..Default::default()
    };
    FusedOptimizer::new(AdamW::default(), options)
        .with_formats(small)
        .with_group(
            ParamGroup::from_regex(r"linear_\w+\.weight$").unwrap(),
            Muon::default(),
        )
        .with_group(ParamGroup::from_predicate("norm_1"), Prodigy::default())
}

fn keep(step: u32, path: &str) -> bool {
    path != "head.bias" || !step.is_multiple_of(3)
}

fn run(
    optim: &mut FusedOptimizer,
    mut model: Transformer,
    steps: std::ops::Range<u32>,
) -> Transformer {
    for step in steps {
        let grads = Gradients(gradients(&model, step)).of(&model, |path| keep(step, path));
        model = optim.step(1e-2, model, grads);
    }
    model
}

fn folder(name: &str) -> std::path::PathBuf {
    std::env::temp_dir().join(format!("wgpu-optim-burn-{}-{name}", std::process::id()))
}

#[test]
fn a_run_that_was_interrupted_ends_where_one_that_was_not_ends() {
    let device = device();
    let folder = folder("checkpoints");
    let mut optim = rich();
    let model = run(&mut optim, Transformer::new(&device), 0..10);
    let models = FileCheckpointer::new(&folder, "model");
    let optims = FileCheckpointer::new(&folder, "optim");
    Checkpointer::<ModuleRecord>::save(&models, 1, model.clone().into_record()).unwrap();
    Checkpointer::<OptimizerRecord>::save(&optims, 1, optim.to_record()).unwrap();
    let uninterrupted = values(&run(&mut optim, model, 10..20));

    // Another module, of other ids until it is loaded.
    let model: ModuleRecord = models.restore(1).unwrap();
    let model = Transformer::new(&device).load_record(model);
    let mut resumed = rich().load_record(optims.restore(1).unwrap());
    let resumed_model = run(&mut resumed, model, 10..20);
    assert_eq!(values(&resumed_model), uninterrupted);
    let bias = resumed_model.head.bias.as_ref().unwrap().id;
    let steps = (0..20).filter(|&step| keep(step, "head.bias")).count();
    let optimizer = resumed.optimizer().unwrap();
    let (_, group) = resumed.tensor(bias).unwrap();
    // The gradients are scaled by none, so steps are skipped until the scale has come down.
    assert!(optimizer.step_count(group).unwrap() <= steps as u64);
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_record_survives_bytes_files_and_being_made_of_what_was_just_loaded() {
    let device = device();
    let mut optim = FusedOptimizer::new(Adam::default(), Options::default());
    let mut model = Cnn::new(&device);
    for step in 0..3 {
        let grads = gradients(&model, step);
        model = optim.step(1e-2, model, grads);
    }
    let fresh = || FusedOptimizer::new(Adam::default(), Options::default());
    let path = folder("adam").with_extension("bpk");
    optim.save(&path).unwrap();
    let from_file = fresh().load(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    let again = fresh().from_bytes(from_file.into_bytes().unwrap()).unwrap();
    let twice = fresh().load_record(again.to_record());

    let grads = Gradients(gradients(&model, 9));
    let expected = optim.step(1e-2, model.clone(), grads.all(&model));
    for mut resumed in [from_file, again, twice] {
        let stepped = resumed.step(1e-2, model.clone(), grads.all(&model));
        assert_eq!(values(&stepped), values(&expected));
        assert_eq!(resumed.step_count(stepped.output.weight.id), 4);
    }
    // State begins anew without a record, so the comparison can fail.
    let other = fresh().step(1e-2, model.clone(), grads.all(&model));
    assert_ne!(values(&other), values(&expected));
}

#[test]
fn parameters_that_are_absent_after_loading_keep_their_state() {
    let device = device();
    let mut optim = FusedOptimizer::new(Adam::default(), Options::default());
    let mut model = Cnn::new(&device);
    for step in 0..3 {
        let grads = gradients(&model, step);
        model = optim.step(1e-2, model, grads);
    }
    let mut resumed =
        FusedOptimizer::new(Adam::default(), Options::default()).load_record(optim.to_record());
    let mut other = model.clone();
    for step in 3..8 {
        let keep = |path: &str| step > 5 || !path.starts_with("conv");
        let grads = Gradients(gradients(&model, step));
        let part = grads.of(&model, keep);
        other = resumed.step(1e-2, other, grads.of(&model, keep));
        model = optim.step(1e-2, model, part);
    }
    assert_eq!(values(&model), values(&other));
}

#[test]
fn a_group_that_is_added_begins_anew_and_the_rest_goes_on() {
    let device = device();
    let mut optim = FusedOptimizer::new(Adam::default(), Options::default());
    let mut model = Cnn::new(&device);
    for step in 0..3 {
        let grads = gradients(&model, step);
        model = optim.step(1e-2, model, grads);
    }
    let mut optim = optim.with_group(ParamGroup::from_predicate("conv2"), Sgd::default());
    let grads = gradients(&model, 3);
    model = optim.step(1e-2, model, grads);
    assert_eq!(optim.step_count(model.conv2.weight.id), 1);
    assert_eq!(optim.step_count(model.conv1.weight.id), 4);
}
