//! Shows how optimizers descend functions of one and two variables: the library's own steps, on the
//! GPU, with a WGSL kernel for the gradients.
//!
//! `cargo run --release --example landscape` makes the gallery; `-- --help` lists what else there
//! is.

mod arguments;
mod basins;
mod contenders;
mod descent;
mod exhibit;
mod fates;
mod functions;
mod gallery;
mod lines;
mod pictures;
mod race;
#[cfg(test)]
mod tests;
mod tuning;

use std::io::{Write, stdout};
use std::process::ExitCode;

use anyhow::Result;
use flags::device::Opened;
use report::{Interrupt, Output, Page, Progress, Section, Table, exit_code, facts};

use arguments::Arguments;
use exhibit::{Exhibit, Workshop};
use lines::Lines;

fn main() -> ExitCode {
    let arguments = Arguments::read();
    exit_code(Interrupt::watch().and_then(|interrupt| {
        run(&arguments, &interrupt)?;
        Ok(interrupt.exit_code())
    }))
}

fn run(arguments: &Arguments, interrupt: &Interrupt) -> Result<()> {
    let command = facts::command("landscape");
    let (exhibits, out) = match arguments.function {
        Some(_) => (
            vec![Exhibit::new(arguments, command)?],
            arguments.out.clone(),
        ),
        None => (gallery::exhibits()?, Some(arguments.gallery_out()?)),
    };
    if let Some(out) = &out {
        out.check_beside(arguments.json.as_deref())?;
    }
    let lines = arguments.json.as_deref().map(Lines::create).transpose()?;
    let opened = arguments.device.open()?;
    introduce(&opened)?;
    let parts = exhibits.iter().map(Exhibit::parts).sum::<Result<u64>>()?;
    let mut workshop = Workshop {
        device: &opened.device,
        interrupt,
        progress: Progress::new(parts, parts_of(arguments), arguments.quiet)?,
        lines,
    };
    let mut sections = Vec::new();
    for exhibit in &exhibits {
        if interrupt.is_requested() {
            break;
        }
        sections.push(exhibit.make(&mut workshop)?);
    }
    workshop.progress.finish();
    if arguments.function.is_some() {
        sections.iter().try_for_each(print)?;
    }
    let said = (sections.len() < exhibits.len()).then(|| {
        let (done, all) = (sections.len(), exhibits.len());
        format!("Interrupted: {done} of {all} parts are shown.")
    });
    if let Some(said) = &said {
        writeln!(stdout(), "{said}")?;
    }
    match out {
        Some(out) if !sections.is_empty() => {
            let mut page = page(arguments, sections, &opened);
            page.lead.extend(said.map(|said| format!(" {said}")));
            write(&out, page)
        }
        _ => Ok(()),
    }
}

/// What the progress counts.
fn parts_of(arguments: &Arguments) -> &'static str {
    match arguments.tune {
        true => "candidates and steps",
        false => "steps",
    }
}

fn introduce(opened: &Opened) -> Result<()> {
    let mut out = stdout();
    writeln!(out, "device  {}", opened.name)?;
    for remark in &opened.remarks {
        writeln!(out, "        {remark}")?;
    }
    Ok(())
}

fn page(arguments: &Arguments, mut sections: Vec<Section>, opened: &Opened) -> Page {
    let (title, lead) = match (&arguments.function, &mut sections[..]) {
        // Its heading is the page's.
        (Some(_), [section]) => (std::mem::take(&mut section.title), String::new()),
        _ => (
            "How optimizers descend".to_owned(),
            "The same functions, starts and numbers of steps for different optimizers: all of it is computed by \
             the steps of wgpu-optim, and each picture has the command that makes it."
                .to_owned(),
        ),
    };
    Page {
        title,
        lead,
        command: facts::command("landscape"),
        facts: facts::usual(&opened.name, opened.device.driver().as_deref()),
        sections,
    }
}

fn write(out: &Output, page: Page) -> Result<()> {
    for path in out.write(&page)? {
        writeln!(stdout(), "wrote {}", path.display())?;
    }
    Ok(())
}

/// What a section says, without its pictures.
fn print(section: &Section) -> Result<()> {
    let mut out = stdout();
    for line in section.text.lines().filter(|line| !line.is_empty()) {
        writeln!(out, "{line}")?;
    }
    for table in &section.tables {
        writeln!(out)?;
        print_table(table)?;
    }
    Ok(())
}

fn print_table(table: &Table) -> Result<()> {
    let all = || std::iter::once(&table.columns).chain(&table.rows);
    let width = |column: usize| {
        let widths = all().map(|row| row[column].chars().count());
        widths.max().unwrap_or_default()
    };
    let widths: Vec<_> = (0..table.columns.len()).map(width).collect();
    for row in all() {
        let cells = row.iter().zip(&widths);
        let cells = cells.map(|(text, &width)| format!("{text:<width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        writeln!(stdout(), "{}", line.trim_end())?;
    }
    Ok(())
}
