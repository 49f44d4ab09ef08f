//! Averages of parameters that are stored in fewer bits: what evaluation puts in their place is rounded, and
//! both come back to the bit.

mod support;

use rand::RngExt;
use support::{
    places::{bits, everywhere},
    saved, *,
};
use wgpu_optim::{
    Average, BufferRange, Checkpoint, Error, Format, Formats, Optimizer, Options, Rule, cpu,
    read_blocking,
    rules::{self, ScheduleFreeSgd, Sgd},
};

const SIZES: [usize; 8] = [1, 3, 64, 65, 1023, 1025, 7, 5000];

fn in_format(params: Format, grads: Format) -> Formats {
    Formats {
        params,
        grads,
        ..Formats::default()
    }
}

/// Products with a decay of one half are exact, so one sum is rounded.
fn averaging() -> Options {
    Options {
        average: Some(Average {
            decay: 0.5,
            debias: false,
        }),
        ..Options::default()
    }
}

/// Products with this rate are exact too.
fn sgd() -> Sgd {
    Sgd {
        lr: 0.25,
        ..Default::default()
    }
}

/// Gradients of bf16.
fn problem(rule: impl Into<Box<dyn Rule>>, formats: Formats, sizes: &[usize]) -> Problem {
    let mut problem = Problem::with_formats(rule, formats, sizes, 4).unwrap();
    let params = problem.params.iter_mut();
    for value in params.chain(problem.grads.iter_mut().flatten()).flatten() {
        *value = f32::from_bits(value.to_bits() >> 16 << 16);
    }
    problem
}

/// The words of every tensor's average, which may be no numbers.
fn words(optimizer: &Optimizer) -> Vec<Vec<u32>> {
    let read = |tensor| {
        let range = optimizer.state(tensor, "average").unwrap();
        let words = read_blocking(&gpu().device, &gpu().queue, &range).unwrap();
        words.iter().map(|word| word.to_bits()).collect()
    };
    optimizer.layout().tensors().map(read).collect()
}

fn words_of(twin: &cpu::Optimizer<f32>) -> Vec<Vec<u32>> {
    let tensors = twin.layout().tensors();
    let all: Vec<_> = tensors
        .map(|tensor| twin.state(tensor, "average").unwrap().to_vec())
        .collect();
    bits(&all)
}

fn params_of(twin: &cpu::Optimizer<f32>) -> Vec<Vec<u32>> {
    let tensors = twin.layout().tensors();
    let all: Vec<_> = tensors
        .map(|tensor| twin.param(tensor).unwrap().to_vec())
        .collect();
    bits(&all)
}

/// Ties and what lies beside them at every exponent, what is not finite, and any others.
fn hostile(count: usize) -> Vec<u32> {
    let mut random = random(count as u64);
    let tails = [
        0, 1, 0x7f, 0x80, 0x81, 0xff, 0x100, 0x7f80, 0x7fff, 0x8000, 0x8001, 0xff7f, 0xff80, 0xffff,
    ];
    let mut all = Vec::new();
    for index in 0..count {
        let any: u32 = random.random();
        let exponent = [0, 1, 0xfe, 0xff, any >> 8 & 0xff][index % 5];
        let upper = [0, 0x7f, 0x40, any & 0x7f][any as usize >> 20 & 3];
        let tail = tails[(any >> 24) as usize % tails.len()];
        let bits = exponent << 23 | upper << 16 | tail | any & 1 << 31;
        let is_nan = bits & 0x7fff_ffff > 0x7f80_0000;
        // Not every device keeps a NaN that is not quiet.
        all.push(if is_nan { bits | 0x40_0000 } else { bits });
    }
    all
}

#[test]
fn the_device_swaps_the_bits_of_the_twin_and_both_swap_them_back() {
    for params in half_params() {
        let problem = problem(sgd(), in_format(params, Format::F32), &SIZES);
        let group = only_group(&problem.layout);
        let averages: Vec<_> = SIZES.iter().map(|count| hostile(*count)).collect();
        let mut twin = cpu::Optimizer::<f32>::with_options(&problem.layout, averaging()).unwrap();
        for (index, tensor) in problem.layout.tensors().enumerate() {
            let average = twin.state_mut(tensor, "average").unwrap();
            for (value, bits) in average.iter_mut().zip(&averages[index]) {
                *value = f32::from_bits(*bits);
            }
            let param = twin.param_mut(tensor).unwrap();
            param.copy_from_slice(&problem.params[index]);
        }
        twin.set_step_count(group, 1).unwrap();
        let before = params_of(&twin);
        twin.evaluate();
        let (shown, kept) = (params_of(&twin), words_of(&twin));
        assert_ne!(shown, before);
        twin.train();
        let (trained, back) = (params_of(&twin), words_of(&twin));
        assert!(trained == before, "{params}");
        for (bits, back) in averages.iter().flatten().zip(back.iter().flatten()) {
            let is_nan = bits & 0x7fff_ffff > 0x7f80_0000;
            // Of a NaN, bits that lie beside others keep the sign.
            let same = match is_nan && params != Format::Bf16 {
                true => f32::from_bits(*back).is_nan() && bits >> 31 == back >> 31,
                false => bits == back,
            };
            assert!(same, "{params}: {bits:#x} came back as {back:#x}");
        }
        for (place, mut optimizer) in everywhere(&problem, &averaging()) {
            problem.write_params(&mut optimizer);
            for (tensor, bits) in problem.layout.tensors().zip(&averages) {
                let BufferRange { buffer, offset, .. } =
                    optimizer.state(tensor, "average").unwrap();
                let bytes = bytemuck::cast_slice(bits);
                gpu().queue.write_buffer(&buffer, offset, bytes);
            }
            optimizer.set_step_count(group, 1).unwrap();
            submit(|encoder| optimizer.evaluate(encoder).unwrap());
            let label = format!("{params} in {place}");
            assert!(bits(&problem.read_params(&optimizer)) == shown, "{label}");
            assert!(words(&optimizer) == kept, "{label}");
            submit(|encoder| optimizer.train(encoder).unwrap());
            assert!(bits(&problem.read_params(&optimizer)) == trained, "{label}");
            assert!(words(&optimizer) == back, "{label}");
        }
    }
}

#[test]
fn steps_average_as_the_twin_does_and_evaluation_between_them_leaves_no_trace() {
    for (params, grads) in half_params().zip([Format::Bf16, Format::F32, Format::Bf16]) {
        let problem = problem(sgd(), in_format(params, grads), &SIZES);
        let mut twin = cpu::Optimizer::<f32>::with_options(&problem.layout, averaging()).unwrap();
        problem.replay(&mut twin, |_, _| Ok(())).unwrap();
        let (trained, average) = (params_of(&twin), words_of(&twin));
        twin.evaluate();
        let shown = params_of(&twin);
        // It is the nearest of the format.
        let largest = (1 << (32 - bits_of(params))) / 2;
        for (shown, average) in shown.iter().flatten().zip(average.iter().flatten()) {
            assert!(shown.abs_diff(*average) <= largest, "{shown:#x}");
        }
        for (place, mut optimizer) in everywhere(&problem, &averaging()) {
            problem.write_params(&mut optimizer);
            for step in 0..problem.grads.len() {
                saved::take(&mut optimizer, &problem, step..step + 1);
                submit(|encoder| {
                    optimizer.evaluate(encoder).unwrap();
                    assert_eq!(optimizer.step(encoder), Err(Error::Evaluating));
                    optimizer.train(encoder).unwrap();
                });
            }
            let label = format!("{params} in {place}");
            assert!(bits(&problem.read_params(&optimizer)) == trained, "{label}");
            assert!(words(&optimizer) == average, "{label}");
            submit(|encoder| optimizer.evaluate(encoder).unwrap());
            assert!(bits(&problem.read_params(&optimizer)) == shown, "{label}");
        }
    }
}

#[test]
fn every_rule_that_does_not_average_by_itself_is_evaluated_with_its_average() {
    let names = rules::names().filter(|name| !rule(name).evaluates_elsewhere());
    let mut evaluated = 0;
    for (name, params) in names.flat_map(|name| half_params().map(move |params| (name, params))) {
        let sizes = match rule(name).stages().matrix {
            Some(_) => &[60, 33, 5][..],
            None => &[100, 1025, 7],
        };
        let formats = Formats {
            state: Format::Int8,
            ..in_format(params, Format::Bf16)
        };
        // Rates that move parameters by far more than they are rounded.
        let mut rule = rule(name);
        rule.set("lr", "0.25").unwrap();
        let problem = problem(rule, formats, sizes);
        let mut twin = cpu::Optimizer::<f32>::with_options(&problem.layout, averaging()).unwrap();
        problem.replay(&mut twin, |_, _| Ok(())).unwrap();
        twin.evaluate();
        let mut optimizer = match Optimizer::new(&gpu().device, &problem.layout, averaging()) {
            Ok(optimizer) => optimizer,
            // WebGPU's eight bindings may be too few.
            Err(Error::Limit { .. }) => continue,
            Err(error) => panic!("{name}: {error}"),
        };
        let trained = bits(&problem.run(&mut optimizer));
        submit(|encoder| optimizer.evaluate(encoder).unwrap());
        let shown = bits(&problem.read_params(&optimizer));
        assert!(shown != trained, "{name} with {params}");
        evaluated += 1;
        // By the rounding of f32 alone, values differ by a few last places.
        let place = (1u32 << (32 - bits_of(params))).max(1 << 8);
        let pairs = shown.iter().flatten().copied().collect::<Vec<_>>();
        let expected = params_of(&twin);
        let pairs = pairs.iter().zip(expected.iter().flatten());
        // Where f32 rounds otherwise, a value may become the other neighbour.
        let differing = pairs.filter(|(a, b)| a.abs_diff(**b) > place).count();
        assert!(differing < 20, "{name} with {params}: {differing} differ");
        submit(|encoder| optimizer.train(encoder).unwrap());
        assert!(bits(&problem.read_params(&optimizer)) == trained, "{name}");
    }
    // The others need more than WebGPU's eight bindings.
    assert!(evaluated > 40, "{evaluated}");
}

#[test]
fn a_file_of_evaluation_goes_on_where_it_was() {
    for params in half_params() {
        let problem = problem(sgd(), in_format(params, Format::F32), &SIZES);
        let mut optimizer = problem.in_arena(averaging());
        problem.write_params(&mut optimizer);
        saved::take(&mut optimizer, &problem, 0..2);
        // What is infinite looks like any NaN in the word that it shares.
        let first = problem.tensors()[3];
        let mut spoiled = optimizer.read_param_blocking(&gpu().queue, first).unwrap();
        spoiled[7] = f32::INFINITY;
        optimizer
            .write_param(&gpu().queue, first, &spoiled)
            .unwrap();
        let trained = saved::bytes(&optimizer);
        submit(|encoder| optimizer.evaluate(encoder).unwrap());
        let evaluating = saved::bytes(&optimizer);
        assert_ne!(evaluating, trained);
        for (place, resumed) in everywhere(&problem, &averaging()) {
            let mut resumed = saved::loaded(resumed, &evaluating);
            assert!(saved::bytes(&resumed) == evaluating, "{place}");
            submit(|encoder| resumed.train(encoder).unwrap());
            assert!(saved::bytes(&resumed) == trained, "{place}");
        }
        let checkpoint = Checkpoint::from_bytes(evaluating.clone()).unwrap();
        let mut twin = cpu::Optimizer::<f32>::with_options(&problem.layout, averaging()).unwrap();
        twin.load(&checkpoint).unwrap();
        assert!(saved::bytes_of(&twin) == evaluating);
        twin.train();
        assert!(saved::bytes_of(&twin) == trained);
        let mut twin = cpu::Optimizer::<f64>::with_options(&problem.layout, averaging()).unwrap();
        match twin.load(&checkpoint) {
            Ok(()) => assert!(!params.rounds(), "{params}"),
            Err(refused) => {
                assert!(
                    params.rounds() && refused.to_string().contains("train()"),
                    "{refused}"
                );
            }
        }
        let trained = Checkpoint::from_bytes(trained).unwrap();
        twin.load(&trained).unwrap();
    }
}

/// A number that somebody writes in evaluation becomes the average, but for half of a bf16's last place, and
/// a zero becomes one or what is subnormal. None becomes a NaN.
#[test]
fn what_is_written_in_evaluation_becomes_the_average() {
    let problem = problem(sgd(), in_format(Format::Bf16, Format::F32), &[5000]);
    let tensor = problem.tensors()[0];
    for written in [0.0f32, -0.0, 1.0, -1.0078125, f32::MIN_POSITIVE] {
        let mut optimizer = problem.in_arena(averaging());
        problem.run(&mut optimizer);
        submit(|encoder| optimizer.evaluate(encoder).unwrap());
        let queue = &gpu().queue;
        let values = vec![written; 5000];
        optimizer.write_param(queue, tensor, &values).unwrap();
        submit(|encoder| optimizer.train(encoder).unwrap());
        let most = if written == 0.0 { 0xffff } else { 0x8000 };
        for word in &words(&optimizer)[0] {
            assert!(word.abs_diff(written.to_bits()) <= most, "{word:#x}");
        }
    }
}

#[test]
fn a_rule_that_computes_its_parameters_back_is_refused_what_rounds() {
    for params in half_params().filter(|params| params.rounds()) {
        let formats = in_format(params, Format::F32);
        let problem = problem(ScheduleFreeSgd::default(), formats, &[3]);
        let made = Optimizer::new(&gpu().device, &problem.layout, Options::default());
        let message = made.unwrap_err().to_string();
        let expected = "parameters of rule schedulefree_sgd, which evaluates with others and computes its own \
                        back from them, cannot be in";
        assert!(message.contains(expected), "{message}");
        let twin = cpu::Optimizer::<f32>::new(&problem.layout);
        assert_eq!(twin.unwrap_err().to_string(), message);
    }
}
