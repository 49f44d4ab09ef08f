//! Networks that learn the digits side by side: from the same weights, with the same batches, each by an
//! optimizer of its own.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use flags::device::Device;
use flags::schedule::{Decay, ScheduleFlags};
use serde::Deserialize;
use trainer::candidate::Candidate;
use trainer::clock::Instant;
use trainer::data::Dataset;
use trainer::flags::{NetworkFlags, TrainingFlags, Widths};
use trainer::network::cpu::Trained;
use trainer::network::gpu::finished;
use trainer::network::{Activation, Architecture, Network, Waiting};
use trainer::progress::Progress;
use trainer::setting::Setting;
use trainer::training::{Epoch, Observer, Plan, Training, untrained_async};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsError, JsValue};
use wgpu_optim::{Format, Gpu};

use crate::digits;
use crate::errors::thrown;
use crate::line::EpochLine;
use crate::race::{Course, wants_more};

/// More would be too many curves.
const MOST_RULES: usize = 5;
const MOST_EPOCHS: u32 = 1000;
/// A batch of fewer samples needs more steps than a page has patience for.
const LEAST_BATCH: usize = 4;
const WIDEST: usize = 2048;
/// Batches that are handed to a GPU before the page has its turn.
const BATCHES: usize = 16;
/// After which the page has its turn on the CPU.
const PATIENCE: Duration = Duration::from_millis(25);

/// What the page says. The words are those of `compare`'s flags.
#[derive(Deserialize)]
struct Wish {
    rules: Vec<String>,
    epochs: u32,
    batch_size: String,
    hidden: String,
    seed: u32,
    schedule: String,
    warmup: u32,
}

/// Networks, from before their training on.
#[wasm_bindgen]
pub struct Trial {
    device: Device,
    data: &'static Dataset,
    architecture: Architecture,
    training: TrainingFlags,
    candidates: Vec<Candidate>,
    seed: u64,
    /// As far as their weights were looked at.
    trained: RefCell<Vec<Option<Trained>>>,
    is_asked: Cell<bool>,
}

/// What is wrong with a rule that is to train a network; None if nothing is.
#[wasm_bindgen]
pub fn training_fault_of(rule: &str) -> Option<String> {
    candidate(rule).err().map(|error| format!("{error:#}"))
}

fn candidate(text: &str) -> Result<Candidate> {
    Candidate::new(text.parse().map_err(anyhow::Error::msg)?)
}

#[wasm_bindgen]
impl Course {
    /// The networks of a setting, for this device to train.
    pub fn trial(&self, wish: &str) -> Result<Trial, JsError> {
        Trial::new(self.gpu.clone(), wish).map_err(thrown)
    }
}

#[wasm_bindgen]
impl Trial {
    /// Trains all, epoch by epoch in turns. Hands `observe` the number of a rule with the line of each of its
    /// epochs, as `compare` writes it, the one before training first; and nothing at all where the page has
    /// its turn. What `observe` returns is awaited; `false` ends the training.
    pub async fn run(&self, observe: js_sys::Function) -> Result<(), JsError> {
        self.train(&observe).await.map_err(thrown)
    }

    /// Whether guesses are wanted while the training goes on.
    pub fn ask(&self, is_asked: bool) {
        self.is_asked.set(is_asked);
    }

    /// What each network takes 64 pixels for: ten probabilities of each that is trained so far, and NaN of
    /// the others.
    pub fn guesses(&self, pixels: &[f32]) -> Result<Vec<f32>, JsError> {
        let mut guesses = Vec::new();
        for trained in &*self.trained.borrow() {
            guesses.extend(match trained {
                Some(trained) => trained.probabilities(pixels).map_err(thrown)?,
                None => vec![f32::NAN; digits::CLASSES],
            });
        }
        Ok(guesses)
    }

    /// Weights of each network.
    #[wasm_bindgen(getter)]
    pub fn parameters(&self) -> usize {
        self.architecture.parameter_count()
    }

    /// The network's layers.
    #[wasm_bindgen(getter)]
    pub fn layers(&self) -> String {
        self.architecture.to_string()
    }
}

impl Trial {
    fn new(gpu: Option<Gpu>, wish: &str) -> Result<Self> {
        let wish: Wish = serde_json::from_str(wish).context("The setting cannot be read")?;
        let data = digits::data()?;
        let candidates = wish.rules.iter().map(|text| candidate(text));
        let candidates: Vec<_> = candidates.collect::<Result<_>>()?;
        ensure!(
            (1..=MOST_RULES).contains(&candidates.len()),
            "{} optimizers cannot train side by side: expected 1 to {MOST_RULES}.",
            candidates.len()
        );
        Ok(Self {
            device: gpu.map_or(Device::Cpu, |gpu| Device::Gpu(Box::new(gpu))),
            data,
            architecture: architecture(&wish.hidden, data)?,
            training: training(&wish, data)?,
            trained: RefCell::new(candidates.iter().map(|_| None).collect()),
            candidates,
            seed: wish.seed.into(),
            is_asked: Cell::new(false),
        })
    }

    fn setting(&self) -> Setting<'_> {
        Setting {
            device: &self.device,
            data: self.data,
            architecture: &self.architecture,
            training: &self.training,
        }
    }

    async fn train(&self, observe: &js_sys::Function) -> Result<()> {
        let setting = self.setting();
        let mut watch = Watch::new(self, observe);
        let mut plans: Vec<Plan> = Vec::new();
        let mut networks: Vec<Box<dyn Network + '_>> = Vec::new();
        for candidate in &self.candidates {
            let plan = setting.plan(candidate, self.seed)?;
            networks.push(setting.network_async(candidate, &plan).await?);
            plans.push(plan);
            watch.turn_now().await?;
        }
        for (index, (network, plan)) in networks.iter_mut().zip(&plans).enumerate() {
            watch.index = index;
            let before = untrained_async(network.as_mut(), plan).await?;
            watch.finished(&before)?;
            watch.tell().await?;
        }
        let trainings = networks.iter_mut().zip(&plans);
        let trainings = trainings.map(|(network, plan)| {
            let training = Training::new(network.as_mut(), plan, Progress::default())?;
            Ok(Some(training))
        });
        let mut trainings: Vec<_> = trainings.collect::<Result<_>>()?;
        while trainings.iter().any(Option::is_some) {
            for (index, place) in trainings.iter_mut().enumerate() {
                let Some(training) = place else {
                    continue;
                };
                watch.index = index;
                let end = training.advance(&mut watch).await?;
                watch.tell().await?;
                if end.is_some() || watch.is_stopped || self.is_asked.get() {
                    let weights = training.network.weights_async().await?;
                    let registered = setting.registered(&self.candidates[index], self.seed)?;
                    self.trained.borrow_mut()[index] = Some(Trained::new(registered, &weights)?);
                }
                if end.is_some() || watch.is_stopped {
                    *place = None;
                }
            }
        }
        Ok(())
    }
}

fn architecture(hidden: &str, data: &Dataset) -> Result<Architecture> {
    let widths: Widths = hidden.parse().map_err(anyhow::Error::msg)?;
    let widest = widths.0.iter().copied().max().unwrap_or(0);
    ensure!(
        widths.0.len() <= 4 && widest <= WIDEST,
        "Hidden layers of {hidden} are too large for a page: expected at most 4 of up to {WIDEST}."
    );
    let flags = NetworkFlags {
        data: "digits".to_owned(),
        classes: None,
        conv: None,
        pool: None,
        hidden: Some(widths),
        activation: Activation::Relu,
        loss: None,
    };
    flags.architecture(data)
}

fn training(wish: &Wish, data: &Dataset) -> Result<TrainingFlags> {
    ensure!(
        (1..=MOST_EPOCHS).contains(&wish.epochs),
        "{} epochs cannot be trained here: expected 1 to {MOST_EPOCHS}.",
        wish.epochs
    );
    let batch_size: trainer::flags::BatchSize =
        wish.batch_size.parse().map_err(anyhow::Error::msg)?;
    ensure!(
        batch_size.of(data.train.count) >= LEAST_BATCH,
        "Batches of {} samples are too small for a page: expected at least {LEAST_BATCH}.",
        wish.batch_size
    );
    let schedule = match &*wish.schedule {
        "constant" => Decay::Constant,
        "step" => Decay::Step,
        "cosine" => Decay::Cosine,
        other => {
            anyhow::bail!("There is no schedule {other:?}: expected one of constant, step, cosine.")
        }
    };
    Ok(TrainingFlags {
        schedule: ScheduleFlags {
            schedule,
            warmup: wish.warmup,
            decay_every: None,
            gamma: None,
            floor: None,
        },
        epochs: wish.epochs,
        batch_size: Some(batch_size),
        params: Format::F32,
        grads: Format::F32,
        state: Format::F32,
        sensitive: Format::F32,
    })
}

/// Hands epochs to the page, and gives it its turn.
struct Watch<'a> {
    trial: &'a Trial,
    observe: &'a js_sys::Function,
    /// Which rule trains.
    index: usize,
    lines: Vec<String>,
    is_stopped: bool,
    batches: usize,
    last: Instant,
}

impl<'a> Watch<'a> {
    fn new(trial: &'a Trial, observe: &'a js_sys::Function) -> Self {
        Self {
            trial,
            observe,
            index: 0,
            lines: Vec::new(),
            is_stopped: false,
            batches: 0,
            last: Instant::now(),
        }
    }

    /// What was finished.
    async fn tell(&mut self) -> Result<()> {
        for line in std::mem::take(&mut self.lines) {
            let said = self
                .observe
                .call2(&JsValue::NULL, &self.index.into(), &line.into());
            self.is_stopped |= !wants_more(said).await?;
        }
        Ok(())
    }

    async fn turn_now(&mut self) -> Result<()> {
        self.is_stopped |= !wants_more(self.observe.call0(&JsValue::NULL)).await?;
        self.last = Instant::now();
        self.batches = 0;
        Ok(())
    }
}

impl Observer for Watch<'_> {
    fn advanced(&mut self, _: usize) {
        self.batches += 1;
    }

    fn finished(&mut self, epoch: &Epoch) -> Result<()> {
        let text = self.trial.candidates[self.index].text.to_string();
        let Trial { seed, data, .. } = self.trial;
        let line = EpochLine::new(&text, *seed, epoch, data.task);
        self.lines.push(serde_json::to_string(&line)?);
        Ok(())
    }

    fn stops(&self) -> bool {
        self.is_stopped
    }

    fn turn(&mut self) -> Option<Waiting<'_, ()>> {
        let is_due = match &self.trial.device {
            Device::Gpu(_) => self.batches >= BATCHES,
            Device::Cpu => self.last.elapsed() >= PATIENCE,
        };
        is_due.then(|| -> Waiting<'_, ()> {
            Box::pin(async move {
                // No more work in flight than this.
                if let Device::Gpu(gpu) = &self.trial.device {
                    finished(gpu).await?;
                }
                self.turn_now().await
            })
        })
    }
}
