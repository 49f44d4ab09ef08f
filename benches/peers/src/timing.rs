//! Timing two contestants in turns, and the table that comes of it.

use std::time::{Duration, Instant};

use anyhow::Result;

/// Rounds before those that count, after the first steps: burn tunes and compiles as it goes.
const UNCOUNTED_ROUNDS: usize = 2;

/// Work that wgpu-optim or burn does step by step.
pub trait Contestant {
    /// What a step needs and is not timed for.
    fn prepare(&mut self) -> Result<()> {
        Ok(())
    }
    fn step(&mut self) -> Result<()>;
    /// Waits until the device has done all steps.
    fn finish(&mut self) -> Result<()>;
}

/// How long it takes from nothing but an open device until the first step is done, and until the
/// tenth is.
pub struct Start {
    first: Duration,
    tenth: Duration,
}

/// Makes a contestant and takes its first steps, waiting for each.
pub fn start<C: Contestant>(make: impl FnOnce() -> Result<C>) -> Result<(C, Start)> {
    let start = Instant::now();
    let mut contestant = make()?;
    let made = start.elapsed();
    let first = made + time(1, &mut contestant)?;
    let mut tenth = first;
    for _ in 1..10 {
        tenth += time(1, &mut contestant)?;
    }
    Ok((contestant, Start { first, tenth }))
}

/// Milliseconds per step, round by round.
#[derive(Default)]
pub struct Rounds {
    ours: Vec<f64>,
    burn: Vec<f64>,
}

/// In each round, both take `steps` steps and wait for the device once; who begins alternates.
pub fn interleave(
    rounds: usize,
    steps: usize,
    ours: &mut impl Contestant,
    burn: &mut impl Contestant,
) -> Result<Rounds> {
    let mut times = Rounds::default();
    for round in 0..UNCOUNTED_ROUNDS + rounds {
        let (a, b) = if round % 2 == 0 {
            let a = time(steps, ours)?;
            (a, time(steps, burn)?)
        } else {
            let b = time(steps, burn)?;
            (time(steps, ours)?, b)
        };
        if round >= UNCOUNTED_ROUNDS {
            let per_step = |time: Duration| 1e3 * time.as_secs_f64() / steps as f64;
            times.ours.push(per_step(a));
            times.burn.push(per_step(b));
        }
    }
    Ok(times)
}

fn time(steps: usize, contestant: &mut impl Contestant) -> Result<Duration> {
    contestant.prepare()?;
    let start = Instant::now();
    for _ in 0..steps {
        contestant.step()?;
    }
    contestant.finish()?;
    Ok(start.elapsed())
}

/// The table's head.
pub fn print_head() {
    print_line([
        "what",
        "ours, ms per step",
        "burn, ms per step",
        "burn ÷ ours",
        "first step, s",
        "tenth step, s",
    ]);
    println!("|---|---|---|---|---|---|");
}

/// One line of the table: medians with quartiles; the ratio's are of each round's.
pub fn print(what: &str, rounds: &Rounds, ours: &Start, burn: &Start) {
    let ratios = rounds.burn.iter().zip(&rounds.ours).map(|(b, a)| b / a);
    let seconds = |a: Duration, b: Duration| {
        let [a, b] = [a, b].map(|time| short(time.as_secs_f64()));
        format!("{a}, burn {b}")
    };
    print_line([
        what,
        &quartiles(rounds.ours.clone()),
        &quartiles(rounds.burn.clone()),
        &quartiles(ratios.collect()),
        &seconds(ours.first, burn.first),
        &seconds(ours.tenth, burn.tenth),
    ]);
}

fn print_line(cells: [&str; 6]) {
    let [what, ours, burn, ratio, first, tenth] = cells;
    println!("| {what:<32} | {ours:<20} | {burn:<20} | {ratio:<20} | {first:<18} | {tenth:<18} |");
}

/// `median (lower to upper quartile)`, of the values at these ranks.
fn quartiles(mut values: Vec<f64>) -> String {
    values.sort_by(f64::total_cmp);
    let at = |part: f64| short(values[(part * (values.len() - 1) as f64).round() as usize]);
    format!("{} ({} to {})", at(0.5), at(0.25), at(0.75))
}

/// Three digits, where the number has no more before its point.
fn short(value: f64) -> String {
    let digits = 2 - value.abs().max(1e-3).log10().floor() as i32;
    format!("{value:.*}", digits.max(0) as usize)
}
