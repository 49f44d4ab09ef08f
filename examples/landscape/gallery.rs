//! What there is to see without a flag: a list of command lines.

use anyhow::Result;
use clap::FromArgMatches;
use report::facts;

use crate::arguments::Arguments;
use crate::exhibit::Exhibit;

/// Each is shown as it would be by itself.
const SHOWN: &[&str] = &[
    "--function quadratic",
    "--function quadratic --noise 2 --seed 1 --rules sgd:lr=0.1,adam:lr=0.1 --schedule exponential --gamma 0.98",
    "--function rosenbrock",
    "--function beale",
    "--function himmelblau",
    "--function rastrigin",
    "--function ackley",
    "--function styblinski_tang",
    "--function saddle",
    "--function local_minimum",
    "--function vanishing",
    "--function cosh",
    "--function gaussians",
    "--function himmelblau --basins 48 --rules sgd:lr=0.01,adam:lr=0.1",
    "--function styblinski_tang --basins 48 --rules sgd:lr=0.02:momentum=0.9,lion:lr=0.05",
];

pub fn exhibits() -> Result<Vec<Exhibit>> {
    let lines = SHOWN.iter().map(|line| {
        let words = line.split_whitespace().map(str::to_owned);
        let words: Vec<String> = words.collect();
        let command = facts::command_of("landscape", &words);
        let names = std::iter::once("landscape".to_owned());
        let matches = Arguments::command_line().try_get_matches_from(names.chain(words))?;
        Exhibit::new(&Arguments::from_arg_matches(&matches)?, command)
    });
    lines.collect()
}
