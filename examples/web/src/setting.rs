//! What is raced: the words and defaults are those of `landscape`'s command line.

use anyhow::{Context, Result, ensure};
use flags::{Length, ScheduleFlags, ScheduledRule};
use serde::Deserialize;
use wgpu_optim::schedule::Schedule;

use crate::descent::{Entrant, Noise, Plan};
use crate::functions::{self, Function, Point};

/// More would fill a browser's memory with positions.
const MOST_STEPS: u64 = 100_000;

#[derive(Deserialize)]
pub struct Setting {
    function: String,
    condition: Option<f64>,
    /// Some with a schedule of their own.
    pub rules: Vec<String>,
    /// One number for each variable.
    start: Vec<f64>,
    steps: u64,
    /// The standard deviation; none is no noise.
    noise: Option<f64>,
    seed: u32,
    /// Of the rules that name none.
    schedule: String,
    warmup: u32,
}

impl Setting {
    pub fn read(json: &str) -> Result<Self> {
        serde_json::from_str(json).context("The setting cannot be read")
    }

    pub fn function(&self) -> Result<Box<dyn Function>> {
        function(&self.function, self.condition)
    }

    /// The descent of `function` by all rules from the start.
    pub fn plan<'a>(&self, function: &'a dyn Function) -> Result<Plan<'a>> {
        self.plan_from(function, &self.rules, &[self.start(function)?])
    }

    /// The descent by some rules from other starts.
    pub fn plan_from<'a>(
        &self,
        function: &'a dyn Function,
        rules: &[String],
        starts: &[Point],
    ) -> Result<Plan<'a>> {
        ensure!(
            (1..=MOST_STEPS).contains(&self.steps),
            "{} steps cannot be raced here: expected 1 to {MOST_STEPS}.",
            self.steps
        );
        let rules = rules.iter().map(|text| text.parse());
        let rules: Vec<ScheduledRule> = rules
            .collect::<Result<_, _>>()
            .map_err(anyhow::Error::msg)?;
        let entrants = rules
            .iter()
            .zip(self.schedules(&rules)?)
            .map(|(text, schedule)| {
                Ok(Entrant {
                    rule: text.rule.rule(&[])?,
                    schedule,
                    starts: starts.to_vec(),
                })
            });
        Ok(Plan {
            function,
            entrants: entrants.collect::<Result<_>>()?,
            steps: self.steps,
            every: 1,
            noise: self.noise()?,
        })
    }

    fn start(&self, function: &dyn Function) -> Result<Point> {
        let mut start = [0.0; 2];
        let dimensions = function.dimensions();
        ensure!(
            self.start.len() == dimensions,
            "A start of {} numbers is no place for {}: expected {dimensions}.",
            self.start.len(),
            function.name()
        );
        start[..dimensions].copy_from_slice(&self.start);
        ensure!(
            function.admits(start),
            "The start is outside the domain of {}: expected {}.",
            function.name(),
            function.domain_text()
        );
        Ok(start)
    }

    fn noise(&self) -> Result<Option<Noise>> {
        let Some(sigma) = self.noise else {
            return Ok(None);
        };
        ensure!(
            (sigma as f32).is_normal() && sigma > 0.0,
            "Noise of {sigma} cannot be made: expected a finite number above 0, as an f32 holds it."
        );
        Ok(Some(Noise {
            sigma,
            seed: self.seed,
        }))
    }

    /// Of the part of each rule's learning rate: an epoch is a step.
    fn schedules(&self, rules: &[ScheduledRule]) -> Result<Vec<Schedule>> {
        let flags = ScheduleFlags {
            schedule: self.schedule.parse().map_err(anyhow::Error::msg)?,
            warmup: self.warmup,
            decay_every: None,
            gamma: None,
            floor: None,
        };
        let own = rules.iter().map(|rule| rule.schedule);
        flags.schedules(own, 1.0, Length::of_steps(self.steps))
    }
}

/// By its name, and for `quadratic` with another ratio of its curvatures.
pub fn function(name: &str, condition: Option<f64>) -> Result<Box<dyn Function>> {
    let function = functions::by_name(name)?;
    let Some(condition) = condition else {
        return Ok(function);
    };
    ensure!(
        (condition as f32).is_normal() && condition > 0.0,
        "A condition of {condition} cannot be: expected a finite number above 0, as an f32 holds it."
    );
    function
        .with_condition(condition)
        .with_context(|| format!("A condition has no meaning for {name}: expected quadratic."))
}
