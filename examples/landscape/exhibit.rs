//! What one command line shows: paths, what a search found, or maps of basins.

use anyhow::Result;
use flags::device::Device;
use report::{Figure, Interrupt, Progress, Section, Table, number};

use crate::arguments::{Arguments, Task};
use crate::basins::{self, Map};
use crate::contenders::Contender;
use crate::fates;
use crate::lines::Lines;
use crate::pictures::Drawn;
use crate::race::{Path, Race};
use crate::tuning::{Search, Tuned};

pub struct Exhibit {
    pub arguments: Arguments,
    pub task: Task,
    contenders: Vec<Contender>,
    /// What makes it.
    command: String,
}

/// Where an exhibit is made, and who watches.
pub struct Workshop<'a> {
    pub device: &'a Device,
    pub interrupt: &'a Interrupt,
    pub progress: Progress,
    pub lines: Option<Lines>,
}

impl Exhibit {
    /// # Errors
    /// For what `arguments` say that cannot be, and without --function.
    pub fn new(arguments: &Arguments, command: String) -> Result<Self> {
        let mut task = arguments.task()?;
        let mut contenders = arguments.contenders(&task)?;
        if let Some(side) = arguments.basins {
            task.starts = fates::starts(&*task.function, side as usize)?;
            match arguments.rules.is_empty() {
                true => contenders.retain(|contender| basins::check(contender).is_ok()),
                false => contenders.iter().try_for_each(basins::check)?,
            }
        }
        if arguments.tune {
            // Whatever their hyperparameters were, they are to be found.
            let mut seen = Vec::new();
            contenders.retain(|contender| {
                let is_new = !seen.contains(&contender.kind());
                seen.push(contender.kind());
                is_new
            });
        }
        Ok(Self {
            arguments: arguments.clone(),
            task,
            contenders,
            command,
        })
    }

    /// The size of the work, as the progress counts it.
    pub fn parts(&self) -> Result<u64> {
        let steps = self.task.steps;
        if self.arguments.basins.is_some() {
            return Ok(steps * self.contenders.len() as u64);
        }
        if !self.arguments.tune {
            return Ok(steps);
        }
        let mut parts = steps;
        for contender in &self.contenders {
            let rule = contender.rule()?;
            parts += Search::count(&*rule, self.arguments.candidates as usize) as u64;
        }
        Ok(parts)
    }

    /// The section of a page.
    pub fn make(&self, workshop: &mut Workshop<'_>) -> Result<Section> {
        if self.arguments.basins.is_some() {
            return self.maps(workshop);
        }
        if self.arguments.tune {
            return self.tuned(workshop);
        }
        let labels: Vec<_> = self.contenders.iter().map(Contender::label).collect();
        self.paths(&self.contenders, &labels, &self.command, workshop)
    }

    /// The paths of `contenders`, which `command` shows.
    fn paths(
        &self,
        contenders: &[Contender],
        labels: &[String],
        command: &str,
        workshop: &mut Workshop<'_>,
    ) -> Result<Section> {
        let task = &self.task;
        let race = Race {
            device: workshop.device,
            task,
            contenders,
            every: self.arguments.every,
        };
        let lines = &mut workshop.lines;
        let mut observe = |frame: &_| match lines {
            Some(lines) => lines.write(task, contenders, frame),
            None => Ok(()),
        };
        let paths = race.run(workshop.interrupt, &mut workshop.progress, &mut observe)?;
        let drawn = Drawn {
            task,
            labels,
            paths: &paths,
        };
        Ok(Section {
            title: self.title(),
            text: paragraphs([
                Some(task.function.about().to_owned()),
                lost(&paths, labels),
                self.interrupted(steps_of(&paths)),
            ]),
            figures: drawn.figures(command)?,
            tables: vec![drawn.table()],
        })
    }

    fn title(&self) -> String {
        let function = &*self.task.function;
        let noise = if self.task.noise.is_some() {
            ", with noise"
        } else {
            ""
        };
        format!("{}: {}{noise}", function.name(), function.formula())
    }

    fn interrupted(&self, done: u64) -> Option<String> {
        let steps = self.task.steps;
        (done < steps).then(|| format!("Interrupted: {done} of {steps} steps are shown."))
    }

    fn tuned(&self, workshop: &mut Workshop<'_>) -> Result<Section> {
        let arguments = &self.arguments;
        let candidates = arguments.candidates as usize;
        let search = Search::new(workshop.device, &self.task, candidates, arguments.seed);
        let mut found = Vec::new();
        for contender in &self.contenders {
            let (interrupt, progress) = (workshop.interrupt, &mut workshop.progress);
            let Some(tuned) = search.tune(contender, interrupt, progress)? else {
                break;
            };
            found.push(tuned);
        }
        let is_cut = found.len() < self.contenders.len();
        let contenders: Vec<_> = found.iter().map(|tuned| tuned.contender.clone()).collect();
        let labels: Vec<_> = contenders.iter().map(Contender::kind).collect();
        let mut section = match contenders.is_empty() || workshop.interrupt.is_requested() {
            true => Section::default(),
            false => {
                let command = arguments.command_with(&self.task, &contenders);
                self.paths(&contenders, &labels, &command, workshop)?
            }
        };
        let goal = search.goal.description(self.task.steps);
        let said = format!(
            "What was looked for: the {goal}; the median of starts at and around each start."
        );
        let cut = is_cut.then(|| {
            let (done, all) = (found.len(), self.contenders.len());
            format!("Interrupted: {done} of {all} rules were searched for.")
        });
        section.text = paragraphs([Some(section.text), Some(said), cut]);
        if !found.is_empty() {
            section.tables.insert(0, self.table_of(&found));
        }
        Ok(section)
    }

    fn table_of(&self, found: &[Tuned]) -> Table {
        let score = |score: f64| match score {
            score if score <= self.task.steps as f64 => number::significant(score, 4),
            _ => "not reached".into(),
        };
        let rows = found.iter().map(|tuned| {
            vec![
                tuned.contender.kind(),
                score(tuned.score),
                score(tuned.before),
                tuned.candidates.to_string(),
                tuned.contender.written(),
                tuned.searched.join(" "),
            ]
        });
        let columns = [
            "rule",
            "steps",
            "steps before",
            "candidates",
            "for --rules",
            "searched",
        ];
        Table {
            caption: "What the search found".into(),
            columns: columns.map(Into::into).to_vec(),
            rows: rows.collect(),
        }
    }

    fn maps(&self, workshop: &mut Workshop<'_>) -> Result<Section> {
        let task = &self.task;
        let (mut figures, mut rows) = (Vec::new(), Vec::new());
        let mut done = task.steps;
        for contender in &self.contenders {
            let (interrupt, progress) = (workshop.interrupt, &mut workshop.progress);
            if interrupt.is_requested() {
                break;
            }
            let map = Map::make(workshop.device, task, contender, interrupt, progress)?;
            let label = contender.label();
            done = done.min(map.done);
            if let Some(lines) = &mut workshop.lines {
                lines.write(task, std::slice::from_ref(contender), &map.last())?;
            }
            rows.push(row_of(&label, &map));
            figures.push(Figure {
                picture: map.picture(&label)?,
                caption: format!(
                    "The minimum that each of {} starts ends in after {} steps.",
                    task.starts.len(),
                    map.done
                ),
                command: Some(self.command.clone()),
            });
        }
        let missed = self.contenders.len() - figures.len();
        let cut = (missed > 0).then(|| format!("Interrupted: {missed} more maps were asked for."));
        let columns = [
            "rule",
            "in the lowest minimum",
            "in another",
            "in none",
            "median steps",
        ];
        Ok(Section {
            title: format!("{}: basins", self.title()),
            text: paragraphs([
                Some(task.function.about().to_owned()),
                self.interrupted(done),
                cut,
            ]),
            figures,
            tables: vec![Table {
                caption: format!("Where {} starts end", task.starts.len()),
                columns: columns.map(Into::into).to_vec(),
                rows,
            }],
        })
    }
}

fn row_of(label: &str, map: &Map<'_>) -> Vec<String> {
    let [lowest, others] = map.fates.shares();
    let percent = |share| number::percent(share, 1);
    vec![
        label.to_owned(),
        percent(lowest),
        percent(others),
        percent((1.0 - lowest - others).max(0.0)),
        map.median_steps()
            .map_or("–".into(), |steps| steps.to_string()),
    ]
}

/// The last step that all paths have a place of.
fn steps_of(paths: &[Path]) -> u64 {
    let last = paths.iter().filter_map(|path| path.places.last());
    last.map(|place| place.step).min().unwrap_or(0)
}

/// Who is no finite number any more, and since when.
fn lost(paths: &[Path], labels: &[String]) -> Option<String> {
    let lost = paths.iter().filter_map(|path| {
        let since = path.lost()?;
        Some(format!("{} from step {since} on", labels[path.contender]))
    });
    let lost: Vec<_> = lost.collect();
    (!lost.is_empty()).then(|| format!("No finite number any more: {}.", lost.join(", ")))
}

fn paragraphs<const N: usize>(texts: [Option<String>; N]) -> String {
    let texts = texts.into_iter().flatten().filter(|text| !text.is_empty());
    texts.collect::<Vec<_>>().join("\n\n")
}
