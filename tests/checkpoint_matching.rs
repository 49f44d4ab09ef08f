//! Checkpoints of other optimizers: refused by name, or loaded as far as the names go.

mod support;

use support::{
    saved::{bytes, bytes_of, loaded, stepped, take},
    *,
};
use wgpu_optim::{
    Average, Checkpoint, Clip, Layout, Options, Rule, cpu,
    rules::{AdamW, Lion, Sgd},
};

/// A rule, and names and shapes of tensors.
type OfGroup<'a> = (Box<dyn Rule>, Vec<(&'a str, &'a [usize])>);

fn layout(groups: Vec<OfGroup<'_>>) -> Layout {
    let mut layout = Layout::new();
    for (rule, tensors) in groups {
        let group = layout.group(rule).unwrap();
        for (name, shape) in tensors {
            layout.tensor(group, name, shape).unwrap();
        }
    }
    layout
}

#[test]
fn what_does_not_belong_to_the_optimizer_is_refused_by_name_and_changes_nothing() {
    let (_, saved) = stepped(AdamW::default(), Options::default());
    let checkpoint = Checkpoint::from_bytes(bytes(&saved)).unwrap();
    let adamw = || Box::new(AdamW::default()) as Box<dyn Rule>;
    let (weight, bias) = (("fc.weight", &[6, 5][..]), ("fc.bias", &[6][..]));
    let amsgrad: Box<dyn Rule> = {
        let mut rule = adamw();
        rule.set("amsgrad", "max_raw").unwrap();
        rule
    };
    let betas = AdamW {
        beta1: 0.5,
        ..AdamW::default()
    };
    let mut options = vec![Options::default(); 10];
    options[8].average = Some(Average {
        decay: 0.5,
        debias: true,
    });
    options[9].clip = Clip::GlobalNorm(1.0);
    let cases = [
        (
            layout(vec![(Box::new(Lion::default()), vec![weight, bias])]),
            "rule of group 0",
        ),
        (layout(vec![(Box::new(betas), vec![weight, bias])]), "beta1"),
        (layout(vec![(amsgrad, vec![weight, bias])]), "amsgrad"),
        (layout(vec![(adamw(), vec![bias, weight])]), "fc.bias"),
        (layout(vec![(adamw(), vec![weight])]), "fc.bias"),
        (
            layout(vec![(adamw(), vec![weight, bias, ("new", &[1])])]),
            "new",
        ),
        (
            layout(vec![(adamw(), vec![("fc.weight", &[5, 6]), bias])]),
            "state.fc.weight.exp_avg",
        ),
        (
            layout(vec![(adamw(), vec![weight]), (adamw(), vec![bias])]),
            "number of groups",
        ),
        (layout(vec![(adamw(), vec![weight, bias])]), "average"),
        (layout(vec![(adamw(), vec![weight, bias])]), "clip"),
    ];
    for ((layout, named), options) in cases.into_iter().zip(options) {
        let problem = Problem::random(layout, 4, 2);
        let mut optimizer = problem.in_arena(options.clone());
        let mut twin = cpu::Optimizer::<f32>::with_options(&problem.layout, options).unwrap();
        problem.write_params(&mut optimizer);
        take(&mut optimizer, &problem, 0..2);
        let before = bytes(&optimizer);
        twin.load(&Checkpoint::from_bytes(before.clone()).unwrap())
            .unwrap();
        for refused in [
            optimizer.load(&gpu().queue, &checkpoint).unwrap_err(),
            twin.load(&checkpoint).unwrap_err(),
        ] {
            let refused = refused.to_string();
            // The shape of the parameters is looked at first.
            let named = named.replace("state.fc.weight.exp_avg", "fc.weight");
            assert!(refused.contains(&named), "{named}: {refused}");
        }
        assert!(bytes(&optimizer) == before, "{named}");
        assert!(bytes_of(&twin) == before, "{named}");
        // It steps on as one that never tried.
        let mut other = loaded(problem.in_arena(options_of(named)), &before);
        take(&mut optimizer, &problem, 2..4);
        take(&mut other, &problem, 2..4);
        assert!(bytes(&optimizer) == bytes(&other), "{named}");
    }
}

/// The options of the case that is refused by `named`.
fn options_of(named: &str) -> Options {
    let mut options = Options::default();
    match named {
        "average" => {
            options.average = Some(Average {
                decay: 0.5,
                debias: true,
            })
        }
        "clip" => options.clip = Clip::GlobalNorm(1.0),
        _ => {}
    }
    options
}

#[test]
fn a_model_that_changed_loads_what_it_still_has() {
    let (_, saved) = stepped(AdamW::default(), Options::default());
    let checkpoint = Checkpoint::from_bytes(bytes(&saved)).unwrap();
    let adamw = || {
        Box::new(AdamW {
            weight_decay: 0.5,
            ..AdamW::default()
        }) as Box<dyn Rule>
    };
    let renamed = |name: &str| match name {
        "fc1.weight" => Some("fc.weight".to_owned()),
        "fc1.bias" => Some("fc.bias".to_owned()),
        other => Some(other.to_owned()),
    };
    let (weight, bias): ((_, &[usize]), (_, &[usize])) =
        (("fc1.weight", &[6, 5]), ("fc1.bias", &[6]));
    let head: (_, &[usize]) = ("fc2.weight", &[2, 6]);

    // Regrouped, in another order, renamed, and with a new layer.
    let grown = layout(vec![
        (adamw(), vec![head]),
        (adamw(), vec![bias]),
        (adamw(), vec![weight]),
    ]);
    let problem = Problem::random(grown, 4, 3);
    let mut optimizer = problem.in_arena(Options::default());
    problem.write_params(&mut optimizer);
    let mut twin = cpu::Optimizer::<f32>::new(&problem.layout).unwrap();
    let report = optimizer
        .load_partial(&gpu().queue, &checkpoint, renamed)
        .unwrap();
    assert_eq!(twin.load_partial(&checkpoint, renamed).unwrap(), report);
    assert_eq!(report.loaded, ["fc1.bias", "fc1.weight"]);
    assert_eq!(report.fresh, ["fc2.weight"]);
    assert!(report.left_over.is_empty());
    let counts = problem
        .layout
        .groups()
        .map(|group| optimizer.step_count(group).unwrap());
    assert_eq!(counts.collect::<Vec<_>>(), [0, 4, 4]);
    for (ours, theirs) in [("fc1.weight", "fc.weight"), ("fc1.bias", "fc.bias")] {
        let ours = problem.layout.find(ours).unwrap();
        let theirs = saved.layout().find(theirs).unwrap();
        let queue = &gpu().queue;
        for slot in ["exp_avg", "exp_avg_sq"] {
            let found = optimizer.read_state_blocking(queue, ours, slot).unwrap();
            assert_eq!(
                found,
                saved.read_state_blocking(queue, theirs, slot).unwrap()
            );
            assert_eq!(found, *twin.state(ours, slot).unwrap());
        }
        let found = optimizer.read_param_blocking(queue, ours).unwrap();
        assert_eq!(found, saved.read_param_blocking(queue, theirs).unwrap());
    }
    let head = problem.layout.find("fc2.weight").unwrap();
    let fresh = optimizer.read_param_blocking(&gpu().queue, head).unwrap();
    assert_eq!(fresh, problem.params[0]);

    // A new tensor among old ones would have no moments and the others' count.
    for (groups, expected) in [
        (
            vec![(adamw(), vec![weight, bias, ("new", &[3][..])])],
            "group of their own",
        ),
        (
            vec![(
                Box::new(Sgd::default()) as Box<dyn Rule>,
                vec![weight, bias],
            )],
            "rule of tensor",
        ),
        (vec![(adamw(), vec![("fc1.weight", &[6, 6][..])])], "shape"),
    ] {
        let problem = Problem::random(layout(groups), 4, 4);
        let mut optimizer = problem.in_arena(Options::default());
        let before = bytes(&optimizer);
        let refused = optimizer
            .load_partial(&gpu().queue, &checkpoint, renamed)
            .unwrap_err();
        assert!(refused.to_string().contains(expected), "{refused}");
        assert!(bytes(&optimizer) == before);
    }
    // What is not asked for is left over.
    let small = Problem::random(layout(vec![(adamw(), vec![weight])]), 1, 5);
    let mut optimizer = small.in_arena(Options::default());
    let report = optimizer
        .load_partial(&gpu().queue, &checkpoint, renamed)
        .unwrap();
    assert_eq!(report.left_over, ["fc.bias"]);
    // Two tensors cannot have the same moments.
    let twice = layout(vec![(adamw(), vec![weight, ("fc.weight", &[6, 5])])]);
    let mut optimizer = Problem::random(twice, 1, 6).in_arena(Options::default());
    let refused = optimizer
        .load_partial(&gpu().queue, &checkpoint, renamed)
        .unwrap_err();
    assert!(refused.to_string().contains("fc.weight"), "{refused}");
}
