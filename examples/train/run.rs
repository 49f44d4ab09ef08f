//! What a checkpoint says of the run that it was saved in.

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use trainer::data::{self, Dataset};
use trainer::network::{Registered, batch_count};
use trainer::progress::Progress;
use trainer::training::{Plan, Shuffle};
use wgpu_optim::{Checkpoint, Save};

/// The name under which a checkpoint has the [`Progress`] of its run.
const PROGRESS: &str = "progress";
/// And the number of epochs that its run was to have.
const EPOCHS: &str = "epochs";
const SCHEDULE: &str = "schedule";

/// What decides how a run goes, beside what the optimizer checks by itself.
pub struct Run<'a> {
    plan: &'a Plan,
    /// By name, what another run may differ in.
    facts: Vec<(&'static str, String)>,
}

impl<'a> Run<'a> {
    pub fn new(data: &Dataset, registered: &Registered, plan: &'a Plan) -> Result<Self> {
        let architecture = &registered.architecture;
        let word = |value: Option<clap::builder::PossibleValue>| {
            value.map_or_else(String::new, |value| value.get_name().to_owned())
        };
        let rules = registered.groups.iter().map(|&(group, lr)| {
            let rule = registered.layout.rule(group)?;
            anyhow::Ok((rule.name().to_owned(), lr.to_string()))
        });
        let mut rules = rules.collect::<Result<Vec<_>>>()?.into_iter();
        let (optimizer, lr) = rules.next().context("A run needs an optimizer.")?;
        let none = || ("none".to_owned(), "none".to_owned());
        let (matrices, matrices_lr) = rules.next().unwrap_or_else(none);
        let mut shuffle = Shuffle::new(plan.samples, plan.seed);
        let order = shuffle.next_epoch().iter();
        let order = data::fingerprint(order.flat_map(|sample| sample.to_le_bytes()));
        let facts = vec![
            (
                "data",
                format!(
                    "{}, {} to train on, {} to test, fingerprints {:016x} and {:016x}",
                    data.name,
                    data.train.count,
                    data.test.count,
                    data.train.fingerprint(),
                    data.test.fingerprint()
                ),
            ),
            (
                "network",
                format!(
                    "{architecture}, {}, {}",
                    word(architecture.activation.to_possible_value()),
                    word(architecture.loss.to_possible_value())
                ),
            ),
            ("optimizer", optimizer),
            ("lr", lr),
            ("matrices", matrices),
            ("lr of matrices", matrices_lr),
            ("seed", plan.seed.to_string()),
            ("batch size", plan.batch_size.to_string()),
            ("accumulate", plan.accumulate.to_string()),
            (
                "poison",
                plan.poison.map_or("none".to_owned(), |n| n.to_string()),
            ),
            (SCHEDULE, format!("{:?}", plan.schedule)),
            // The same seed could give another order by another version of the random numbers.
            ("first order of the samples", format!("{order:016x}")),
        ];
        Ok(Self { plan, facts })
    }

    /// What goes into the checkpoint of a run that has come to `progress`.
    pub fn save(&self, progress: &Progress) -> Result<Save> {
        let facts = self.facts.iter();
        let facts = facts.map(|(name, text)| ((*name).to_owned(), text.clone()));
        let more = [
            (EPOCHS.to_owned(), self.plan.epochs.to_string()),
            (PROGRESS.to_owned(), serde_json::to_string(progress)?),
        ];
        Ok(Save {
            user: facts.chain(more).collect(),
            ..Save::default()
        })
    }

    /// How far the run of `checkpoint` is. Fails with what differs if it is not this one.
    pub fn progress(&self, checkpoint: &Checkpoint) -> Result<Progress> {
        let found = |name: &str| {
            let found = checkpoint.user().get(name);
            found.with_context(|| format!("`train` did not save it: it has no \"{name}\""))
        };
        for (name, ours) in &self.facts {
            let theirs = found(name)?;
            if theirs == ours {
                continue;
            }
            let epochs = found(EPOCHS)?;
            if *name == SCHEDULE && *epochs != self.plan.epochs.to_string() {
                bail!(
                    "its learning rates fall over {epochs} epochs, and --epochs is {}: they would jump. Expected \
                     --epochs {epochs}; a run with --schedule constant may be made longer",
                    self.plan.epochs
                );
            }
            bail!(
                "its run has another {name}: {theirs}, and this one has {ours}. Expected the same, or \
                 --fresh-optimizer, which takes the weights alone"
            );
        }
        let text = found(PROGRESS)?;
        let progress: Progress = serde_json::from_str(text)
            .with_context(|| format!("its progress is {text}, which is none"))?;
        let per_epoch = batch_count(self.plan.samples, self.plan.batch_size);
        ensure!(
            progress.batches < per_epoch,
            "its progress is {text}, and an epoch has {per_epoch} batches"
        );
        let begun = progress
            .epochs
            .saturating_add(u32::from(progress.batches > 0));
        ensure!(
            begun <= self.plan.epochs,
            "its run is in epoch {begun} already, and --epochs, which counts them all, is {}",
            self.plan.epochs
        );
        Ok(progress)
    }
}
