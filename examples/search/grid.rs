//! The trials of a grid: each optimizer with each combination of values.

use anyhow::{Result, ensure};
use flags::{Assignment, RuleText};
use trainer::candidate::Candidate;

use crate::arguments::{Arguments, GridKey};
use crate::trial::{Trial, fixes, with};

/// Learning rates of the grid where the user names no hyperparameter at all.
const LEARNING_RATES: [&str; 8] = [
    "1e-4", "3e-4", "1e-3", "3e-3", "1e-2", "3e-2", "1e-1", "3e-1",
];

/// All combinations that an optimizer takes, and sentences about what was left out.
pub fn trials(arguments: &Arguments) -> Result<(Vec<Trial>, Vec<String>)> {
    let (mut trials, mut remarks) = (Vec::new(), Vec::new());
    check_keys(arguments)?;
    for (of, text) in arguments.optimizers.iter().enumerate() {
        // Fails for what is wrong whatever the values are.
        Candidate::new(text.clone())?;
        if !arguments.has_grid() {
            continue;
        }
        let mut combinations = vec![Vec::new()];
        for (name, values) in axes(arguments, text, &mut remarks)? {
            let longer = combinations
                .iter()
                .flat_map(|combination: &Vec<Assignment>| {
                    let longer = values.iter().map(|value| {
                        let mut longer = combination.clone();
                        longer.push(Assignment::new(&name, value));
                        longer
                    });
                    longer.collect::<Vec<_>>()
                });
            combinations = longer.collect();
        }
        for combination in combinations {
            let text = with(text, combination);
            match Trial::new(text.clone(), of) {
                Ok(trial) => trials.push(trial),
                Err(error) => remarks.push(format!("{text} is left out: {error:#}")),
            }
        }
    }
    Ok((trials, remarks))
}

/// Fails for a key that no optimizer has.
fn check_keys(arguments: &Arguments) -> Result<()> {
    for key in &arguments.grid {
        let mut any = false;
        for text in &arguments.optimizers {
            any |= has(text, &key.name)?;
        }
        ensure!(
            any,
            "--grid {}: none of the optimizers has such a hyperparameter.",
            key.name
        );
    }
    Ok(())
}

/// What varies for the optimizer `text`: names and values.
fn axes(
    arguments: &Arguments,
    text: &RuleText,
    remarks: &mut Vec<String>,
) -> Result<Vec<(String, Vec<String>)>> {
    let mut axes = Vec::new();
    let rates = rates(arguments);
    if fixes(text, "lr") && !rates.is_empty() {
        remarks.push(format!("{text} stays at its learning rate."));
    } else if !rates.is_empty() {
        axes.push(("lr".to_owned(), rates));
    }
    for GridKey { name, values } in &arguments.grid {
        if !has(text, name)? {
            remarks.push(format!("{text} has no {name}, and is tried without it."));
        } else if fixes(text, name) {
            remarks.push(format!("{text} stays at its {name}."));
        } else {
            for value in values {
                Candidate::new(text.clone())?.rule()?.set(name, value)?;
            }
            axes.push((name.clone(), values.clone()));
        }
    }
    Ok(axes)
}

fn rates(arguments: &Arguments) -> Vec<String> {
    if !arguments.lr.is_empty() {
        return arguments.lr.iter().map(|lr| lr.0.to_string()).collect();
    }
    match arguments.grid.is_empty() {
        true => LEARNING_RATES.map(str::to_owned).to_vec(),
        false => Vec::new(),
    }
}

/// Whether the optimizer has a hyperparameter of that name.
pub fn has(text: &RuleText, name: &str) -> Result<bool> {
    let mut rule = Candidate::new(text.clone())?.rule()?;
    let fields = rule.hyperparameters();
    Ok(fields.iter().any(|field| field.name == name))
}
