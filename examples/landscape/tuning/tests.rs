use flags::RuleText;
use flags::schedule::Decay;
use wgpu_optim::rules;

use super::*;
use crate::contenders::differing;
use crate::functions;

fn task(name: &str, steps: u64) -> Task {
    let function = functions::by_name(name).unwrap();
    Task {
        starts: vec![function.start()],
        steps,
        noise: None,
        function,
    }
}

fn tuned(task: &Task, text: &str, candidates: usize, seed: u32) -> Tuned {
    let constant = (Decay::Constant, Schedule::Constant);
    tuned_with(task, text, candidates, seed, constant)
}

fn tuned_with(
    task: &Task,
    text: &str,
    candidates: usize,
    seed: u32,
    (decay, schedule): (Decay, Schedule),
) -> Tuned {
    let contender = Contender::new(&text.parse().unwrap(), decay, schedule).unwrap();
    let search = Search::new(&Device::Cpu, task, candidates, seed);
    let mut progress = Progress::new(1, "candidates", true).unwrap();
    let tuned = search.tune(&contender, &Interrupt::default(), &mut progress);
    tuned.unwrap().unwrap()
}

#[test]
fn a_search_finds_the_same_again_and_another_seed_something_else() {
    let task = task("himmelblau", 40);
    let text = |seed| tuned(&task, "adam", 48, seed).contender.written();
    assert_eq!(text(1), text(1));
    assert_ne!(text(1), text(2));
}

#[test]
fn a_search_finds_what_is_better_than_the_defaults() {
    let task = task("quadratic", 60);
    let found = tuned(&task, "sgd", 64, 1);
    assert!(found.before > 60.0, "{found:?}");
    assert!(found.score < 30.0, "{found:?}");
    // What is found reaches the goal by itself, too.
    let written = found.contender.written();
    let again = tuned(&task, &written, 8, 9);
    assert!(
        again.before <= found.score + 5.0,
        "{again:?} after {found:?}"
    );
}

#[test]
fn a_search_is_for_the_schedule_that_the_rule_has() {
    let task = task("quadratic", 60);
    // A rate that is gone after a step: nothing gets there, whatever it is.
    let gone = Schedule::Step {
        every: 1,
        gamma: 1e-9,
    };
    let text = "adam:schedule=step";
    let found = tuned_with(&task, text, 16, 1, (Decay::Step, gone));
    assert!(found.score > 60.0, "{found:?}");
    assert!(tuned(&task, "adam", 16, 1).score < 60.0);
    // It is still that rule's.
    let written = found.contender.written();
    assert!(written.ends_with(":schedule=step"), "{written}");
    assert_eq!(found.contender.kind(), "adam schedule=step");
}

#[test]
fn a_search_keeps_what_the_user_wrote_if_nothing_is_better() {
    let found = tuned(&task("cosh", 20), "newton", 8, 1);
    assert!(found.score <= found.before, "{found:?}");
}

#[test]
fn what_a_search_draws_is_allowed_and_is_what_its_text_says() {
    let mut random = ChaCha8Rng::seed_from_u64(3);
    for name in rules::names() {
        for _ in 0..20 {
            let mut drawn = space::draw(name, &mut random).unwrap();
            let mut drawn = space::draw_near(&mut *drawn, &mut random).unwrap();
            drawn.validate().unwrap();
            let text = RuleText {
                name: name.into(),
                hyper: differing(&mut *drawn).unwrap(),
            };
            let again = text.rule(&[]).unwrap();
            assert_eq!(format!("{again:?}"), format!("{drawn:?}"));
            // Three digits, whatever zeros stand before them; all of an f64's are 17.
            let is_short = |hyper: &flags::Assignment| {
                hyper.value.parse::<f64>().is_err() || hyper.value.len() < 16
            };
            assert!(text.hyper.iter().all(is_short), "{text}");
        }
    }
}

#[test]
fn a_search_changes_all_that_matters_and_neither_decay_nor_direction() {
    let names = |name| space::searched(&mut *rules::by_name(name).unwrap());
    let adam = ["lr", "beta1", "beta2", "amsgrad", "nesterov", "cautious"];
    assert_eq!(names("adam"), adam);
    for rule in rules::names() {
        let names = names(rule);
        assert!(names.contains(&"lr"), "{rule}: {names:?}");
        assert!(!names.contains(&"maximize"), "{rule}: {names:?}");
        let mut random = ChaCha8Rng::seed_from_u64(4);
        let drawn = || space::draw(rule, &mut random).unwrap();
        let mut drawn: Vec<_> = std::iter::repeat_with(drawn).take(60).collect();
        for name in names {
            let values = drawn.iter_mut().map(|rule| {
                let fields = rule.hyperparameters();
                let field = fields.iter().find(|field| field.name == name);
                field.unwrap().value()
            });
            let values: std::collections::BTreeSet<_> = values.collect();
            assert!(values.len() > 1, "{rule} {name}: {values:?}");
        }
    }
}

#[test]
fn the_farther_from_the_goal_the_worse_and_what_is_not_finite_is_worst() {
    let goal = Goal {
        value: 1.0,
        lowest: 0.0,
    };
    let score = |values: &[f64]| {
        let mut course = Course::BEFORE;
        for (step, &value) in values.iter().enumerate() {
            course.observe(step as u64, value, &goal);
        }
        course.score(3, &goal)
    };
    assert_eq!(score(&[5.0, 0.5, 0.5, 0.5]), 1.0);
    // It has to stay there.
    assert_eq!(score(&[5.0, 0.5, 5.0, 0.5]), 3.0);
    let (near, far) = (score(&[5.0, 5.0, 5.0, 2.0]), score(&[5.0, 5.0, 5.0, 9.0]));
    assert!(3.0 < near && near < far, "{near} {far}");
    assert_eq!(score(&[5.0, 0.5, 0.5, f64::NAN]), f64::INFINITY);
}
