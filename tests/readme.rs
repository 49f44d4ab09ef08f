//! The README's table of rules against the rules. `UPDATE_README=1 cargo test --test readme` writes a row
//! for each rule that has none.

use std::{fs, path::Path};

use wgpu_optim::{Extent, Format, Formats, Layout, Options, Rule, Slot, Stages, cpu, rules};

#[test]
fn the_table_has_a_row_for_every_rule_with_all_its_state() {
    let readme = readme();
    let rows: Vec<Vec<&str>> = readme
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.split('|').map(str::trim).collect())
        .filter(|cells: &Vec<&str>| cells.len() == 7)
        .collect();
    let named: Vec<_> = rows
        .iter()
        .map(|cells| cells[1].trim_matches('`'))
        .collect();
    assert_eq!(named, rules::names().collect::<Vec<_>>());
    for cells in rows {
        let name = cells[1].trim_matches('`');
        assert!(!cells[2].is_empty() && !cells[5].is_empty(), "{name}");
        let rule = rules::by_name(name).unwrap();
        let kept = rule.slots().into_iter();
        for slot in kept.filter(|slot| slot.used && !slot.scratch) {
            assert!(cells[3].contains(slot.name), "{name} keeps {}", slot.name);
        }
        let bytes = bytes(&*rule);
        assert!(
            cells[4].starts_with(&bytes),
            "{name} moves {bytes}, not {}",
            cells[4]
        );
    }
}

fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The README's text; with UPDATE_README set, completed first.
fn readme() -> String {
    let path = package().join("README.md");
    let text = fs::read_to_string(&path).unwrap();
    if std::env::var_os("UPDATE_README").is_none() {
        return text;
    }
    let completed = completed(&text, &rules::names().collect::<Vec<_>>(), row);
    fs::write(path, &completed).unwrap();
    completed
}

/// `text` with a `row` for each of `names` that its table lacks, behind that of the name before.
fn completed(text: &str, names: &[&str], row: impl Fn(&str) -> String) -> String {
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    let of = |lines: &[String], name: &str| lines.iter().position(|line| is_row(line, name));
    for pair in names.windows(2) {
        if of(&lines, pair[1]).is_none() {
            let before = of(&lines, pair[0]).expect("the row of the rule before");
            lines.insert(before + 1, row(pair[1]));
        }
    }
    lines.join("\n") + "\n"
}

/// Whether `line` is the row of `name` in the table of rules; others have fewer cells.
fn is_row(line: &str, name: &str) -> bool {
    line.starts_with(&format!("| `{name}` |")) && line.split('|').count() == 7
}

/// What the rule's declaration says, for a start.
fn row(name: &str) -> String {
    let rule = rules::by_name(name).unwrap();
    let source = package().join(format!("src/rules/{name}.rs"));
    let source = fs::read_to_string(source).unwrap();
    let lines = source.lines().map(str::trim);
    let documentation = lines
        .clone()
        .skip_while(|line| !line.starts_with("/// "))
        .map_while(|line| line.strip_prefix("/// "))
        .collect::<Vec<_>>()
        .join(" ");
    let from = lines
        .filter_map(|line| line.strip_prefix("source: \""))
        .find_map(|line| line.strip_suffix("\";"));
    let kept = rule.slots().into_iter();
    let state: Vec<_> = kept
        .filter(|slot| slot.used && !slot.scratch)
        .map(|slot| match (slot.input, slot.extent) {
            (true, _) => format!("input {}", slot.name),
            (_, Extent::Element) => slot.name.to_owned(),
            (_, extent) => format!("{} per {extent:?}", slot.name).to_lowercase(),
        })
        .collect();
    let state = match &*state {
        [] => "none".to_owned(),
        state => state.join(", "),
    };
    let cells = [
        format!("`{name}`"),
        documentation.trim_end_matches('.').to_owned(),
        state,
        bytes(&*rule),
        from.unwrap_or("closed form")
            .trim_end_matches('.')
            .to_owned(),
    ];
    format!(
        "| {} |",
        cells.map(|cell| cell.replace('|', "\\|")).join(" | ")
    )
}

#[test]
fn a_row_that_lacks_is_written_where_it_belongs() {
    let readme = fs::read_to_string(package().join("README.md")).unwrap();
    let names: Vec<_> = rules::names().collect();
    assert_eq!(completed(&readme, &names, row), readme);
    for name in &names[1..] {
        let without = readme.lines().filter(|line| !is_row(line, name));
        let without = without.map(|line| format!("{line}\n")).collect::<String>();
        let stub = |name: &str| format!("| `{name}` | new | | | |");
        let found = completed(&without, &names, stub);
        let expected = readme.lines().map(|line| match is_row(line, name) {
            true => stub(name) + "\n",
            false => format!("{line}\n"),
        });
        assert_eq!(found, expected.collect::<String>(), "{name}");
        let row = row(name);
        assert_eq!(row.replace("\\|", "").split('|').count(), 7, "{row}");
    }
    assert_eq!(
        row("adopt"),
        "| `adopt` | ADOPT: Adam that divides by the second moment of the step before, so that it \
         converges for any β2 | exp_avg, exp_avg_sq | 28 / 16 | Taniguchi et al. 2024, \
         arXiv:2411.02853, as in pytorch-optimizer |"
    );
}

/// Bytes per parameter that a step moves, and that are kept with the gradient, in f32.
fn bytes(rule: &dyn Rule) -> String {
    let of = Bytes::new(Formats::default());
    format!("{} / {}", of.moved(rule), of.grad + of.kept(rule))
}

/// The slots of elements in use.
fn elements(rule: &dyn Rule) -> Vec<Slot> {
    let mut slots = rule.slots();
    slots.retain(|slot| slot.used && slot.extent == Extent::Element);
    slots
}

/// Bytes of an element in each role.
struct Bytes {
    param: f64,
    grad: f64,
    formats: Formats,
}

impl Bytes {
    fn new(formats: Formats) -> Self {
        let [param, grad] =
            [formats.params, formats.grads].map(|format| format.bytes_per_element());
        Self {
            param,
            grad,
            formats,
        }
    }

    fn slot(&self, rule: &dyn Rule, slot: &Slot) -> f64 {
        let of_matrix = rule
            .stages()
            .matrix
            .is_some_and(|stage| stage.slot == slot.name);
        let format = match of_matrix || slot.input || slot.scratch {
            true => Format::F32,
            false => self.formats.of_state(slot.precision),
        };
        format.bytes_per_element()
    }

    /// Of the parameter and its state.
    fn kept(&self, rule: &dyn Rule) -> f64 {
        let slots = elements(rule);
        self.param + slots.iter().map(|slot| self.slot(rule, slot)).sum::<f64>()
    }

    /// That the passes of a step read and write.
    fn moved(&self, rule: &dyn Rule) -> f64 {
        let Stages {
            lines, sum, matrix, ..
        } = rule.stages();
        let slots = elements(rule);
        let read = |names: &[&str]| -> f64 {
            let read = slots.iter().filter(|slot| names.contains(&slot.name));
            read.map(|slot| self.slot(rule, slot)).sum()
        };
        let of_lines = if lines.is_some() { self.grad } else { 0.0 };
        let of_sum = sum.map_or(0.0, |sum| {
            let text = rule.wgsl();
            let body = &text[text.find("fn measure(").unwrap()..];
            let body = &body[body.find('{').unwrap()..body.find("\n}").unwrap()];
            let words: Vec<_> = body
                .split(|c: char| !c.is_alphanumeric() && c != '_')
                .collect();
            let of = |name, bytes| if words.contains(&name) { bytes } else { 0.0 };
            of("p", self.param) + of("g", self.grad) + read(sum.reads)
        });
        let changed = |slot: &Slot| match slot.input {
            true => self.slot(rule, slot),
            false => 2.0 * self.slot(rule, slot),
        };
        let of_update = match matrix {
            // The gradient is read and state is read and written before, but for what is only filled;
            // then parameters are read and written.
            Some(stage) => {
                let filled = slots.iter().find(|slot| stage.reads.contains(&slot.name));
                let others = slots
                    .iter()
                    .filter(|slot| Some(slot.name) != filled.map(|slot| slot.name));
                let filled = filled.map_or(0.0, |slot| self.slot(rule, slot));
                self.grad
                    + 2.0 * others.map(|slot| self.slot(rule, slot)).sum::<f64>()
                    + filled
                    + 2.0 * self.param
                    + read(stage.reads)
            }
            // Parameters and gradients are read, parameters written; each slot is read, and written if it
            // is no input.
            None => 2.0 * self.param + self.grad + slots.iter().map(changed).sum::<f64>(),
        };
        of_lines + of_sum + of_update
    }
}

/// What is shown of formats, in the order of the columns.
fn shown() -> [(&'static str, Formats); 8] {
    let f32 = Formats::default();
    let halves = Formats {
        params: Format::Bf16,
        grads: Format::Bf16,
        ..f32
    };
    let with_residual = |params| Formats { params, ..halves };
    let state = |state, formats| Formats { state, ..formats };
    [
        ("f32", f32),
        ("state bf16", state(Format::Bf16, f32)),
        ("state int8", state(Format::Int8, f32)),
        (
            "state int8, sensitive bf16",
            state(
                Format::Int8,
                Formats {
                    sensitive: Format::Bf16,
                    ..f32
                },
            ),
        ),
        ("all bf16", state(Format::Bf16, halves)),
        ("bf16, state int8", state(Format::Int8, halves)),
        (
            "bf16+8, state int8",
            state(Format::Int8, with_residual(Format::Bf16Plus8)),
        ),
        (
            "bf16+16, state int8",
            state(Format::Int8, with_residual(Format::Bf16Plus16)),
        ),
    ]
}

/// Not all parameters can be bf16: some rules evaluate with others.
fn takes(name: &str, formats: Formats) -> bool {
    let rule = rules::by_name(name).unwrap();
    let mut layout = Layout::new();
    let group = layout.group_in(rule, formats).unwrap();
    layout.tensor(group, "weight", &[2, 2]).unwrap();
    cpu::Optimizer::<f32>::with_options(&layout, Options::default()).is_ok()
}

/// `UPDATE_README=1` writes the table.
#[test]
fn the_table_of_bytes_is_what_the_rules_declare() {
    let mut table = String::from(
        "# Bytes per parameter\n\nThat a step moves / that are kept: the parameter and its state, without its gradient. Computed by\n\
         [tests/readme.rs](../tests/readme.rs) from what each rule declares, with its defaults. A dash: the rule evaluates with\n\
         other parameters, and what is rounded could not be put back.\n\n| rule |",
    );
    for (title, _) in shown() {
        table += &format!(" {title} |");
    }
    table += "\n|---|---:|---:|---:|---:|---:|---:|---:|---:|\n";
    for name in rules::names() {
        let rule = rules::by_name(name).unwrap();
        table += &format!("| `{name}` |");
        for (_, formats) in shown() {
            let bytes = Bytes::new(formats);
            table += &match takes(name, formats) {
                true => format!(" {} / {} |", bytes.moved(&*rule), bytes.kept(&*rule)),
                false => " – |".to_owned(),
            };
        }
        table += "\n";
    }
    let path = package().join("benches/bytes.md");
    if std::env::var_os("UPDATE_README").is_some() {
        fs::write(&path, &table).unwrap();
    }
    assert_eq!(fs::read_to_string(path).unwrap(), table);
    // The goal: at most 7 bytes are kept.
    let adamw = rules::by_name("adamw").unwrap();
    for (_, formats) in &shown()[5..] {
        assert!(Bytes::new(*formats).kept(&*adamw) <= 7.0);
    }
}

/// The table keeps what the twin has in memory, to the byte.
#[test]
fn what_is_kept_is_what_a_twin_of_each_rule_and_format_has() {
    for name in rules::names() {
        for (title, formats) in shown() {
            if !takes(name, formats) {
                continue;
            }
            let rule = rules::by_name(name).unwrap();
            let mut layout = Layout::new();
            let group = layout
                .group_in(rules::by_name(name).unwrap(), formats)
                .unwrap();
            // Whole blocks of every format.
            let tensor = layout.tensor(group, "weight", &[16, 16]).unwrap();
            let twin = cpu::Optimizer::<f32>::new(&layout).unwrap();
            let state = elements(&*rule).into_iter();
            let state = state.map(|slot| twin.state_bytes(tensor, slot.name).unwrap().len());
            let found = twin.param_bytes(tensor).unwrap().len() + state.sum::<usize>();
            let kept = Bytes::new(formats).kept(&*rule);
            assert_eq!(found as f64 / 256.0, kept, "{name}, {title}");
        }
    }
}

fn text_of(path: &str) -> String {
    fs::read_to_string(package().join(path)).unwrap()
}

/// The cells of each row of the tables whose heading begins with `heading`, up to the end of the table.
fn rows_below(text: &str, heading: &str) -> Vec<Vec<String>> {
    let start = text.lines().skip_while(|line| !line.starts_with(heading));
    let rows = start.skip(2).take_while(|line| line.starts_with('|'));
    let cells = |line: &str| {
        let cells = line.trim_matches('|').split('|');
        cells.map(|cell| cell.trim().to_owned()).collect()
    };
    let rows: Vec<Vec<String>> = rows.map(cells).collect();
    assert!(!rows.is_empty(), "no table {heading:?}");
    rows
}

#[test]
fn the_readmes_bytes_of_adamw_are_computed() {
    let adamw = rules::by_name("adamw").unwrap();
    let [
        f32,
        bf16,
        int8,
        _,
        all_bf16,
        halves_int8,
        plus_8_int8,
        plus_16_int8,
    ] = shown().map(|(_, formats)| formats);
    let expected = [
        ("all f32", f32),
        ("state in bf16", bf16),
        ("state in int8", int8),
        ("parameters, gradients and state in bf16", all_bf16),
        (
            "parameters and gradients in bf16, state in int8",
            halves_int8,
        ),
        (
            "parameters in bf16+8, gradients in bf16, state in int8",
            plus_8_int8,
        ),
        (
            "parameters in bf16+16, gradients in bf16, state in int8",
            plus_16_int8,
        ),
    ]
    .map(|(title, formats)| {
        let bytes = Bytes::new(formats);
        let [moved, kept] = [bytes.moved(&*adamw), bytes.kept(&*adamw)];
        [title.to_owned(), moved.to_string(), kept.to_string()]
    });
    let found = rows_below(&text_of("README.md"), "| AdamW, bytes for each parameter");
    assert_eq!(found, expected);
}

#[test]
fn the_roofline_is_bytes_over_bandwidth_and_names_the_rules_that_move_them() {
    let text = text_of("benches/README.md");
    let heading = "| bytes per parameter | rules, with their defaults |";
    let gb_per_s: Vec<f64> = text
        .lines()
        .find(|line| line.starts_with(heading))
        .unwrap()
        .split('|')
        .filter_map(|cell| {
            let (_, bandwidth) = cell.rsplit_once(", ")?;
            let (number, unit) = bandwidth.trim().split_once(' ')?;
            let scale = if unit == "TB/s" { 1000.0 } else { 1.0 };
            (unit.ends_with("B/s")).then(|| scale * number.parse::<f64>().unwrap())
        })
        .collect();
    assert_eq!(gb_per_s.len(), 4);
    let of = Bytes::new(Formats::default());
    for row in rows_below(&text, heading) {
        let bytes: f64 = row[0].trim_start_matches("+ ").parse().unwrap();
        for (cell, gb_per_s) in row[2..].iter().zip(&gb_per_s) {
            let ms = bytes * 100e6 / gb_per_s / 1e6;
            let (number, _) = cell.trim_start_matches("+ ").split_once(' ').unwrap();
            let shown: f64 = number.parse().unwrap();
            // Two digits are shown.
            assert!(
                (shown / ms - 1.0).abs() < 0.05,
                "{bytes} bytes: {cell} for {ms} ms"
            );
        }
        // Rules that are named without a condition behind them.
        for part in row[1].split([',', ';']) {
            if part.contains("with") || part.contains("family") {
                continue;
            }
            for name in part.split('`').skip(1).step_by(2) {
                let moved = of.moved(&*rules::by_name(name).unwrap());
                assert_eq!(moved, bytes, "{name}");
            }
        }
    }
}

/// Per cent.
fn per_cent(cell: &str) -> Vec<f64> {
    let numbers = cell.split(|c: char| !c.is_ascii_digit() && c != '.');
    numbers.filter_map(|number| number.parse().ok()).collect()
}

/// The tasks and their flags, in the order of the README.
const TASKS: [(&str, &str); 3] = [
    ("handwritten digits", "the defaults"),
    ("the same, convolutional", "`--conv 8x3,16x3 --pool 2`"),
    (
        "three spirals, narrow layers",
        "`--data synthetic-classification --hidden 16,16`",
    ),
];

/// The cells of `task` in the README of `train`, in the order of the README's columns.
fn measured(task: &str) -> Vec<String> {
    let text = text_of("examples/train/README.md");
    let of_state = rows_below(&text, "| `--device cpu`, seeds 1 to 20 | `--state f32`");
    let of_all = rows_below(&text, "| `--device cpu`, seeds 1 to 20 | `--params bf16");
    let cells = |rows: Vec<Vec<String>>| {
        let mut rows = rows.into_iter();
        rows.find(|row| row[0] == task).unwrap().split_off(1)
    };
    [cells(of_state), cells(of_all)].concat()
}

#[test]
fn the_readmes_accuracies_are_those_that_were_measured_and_near_that_of_f32() {
    let heading = "| parameters, gradients, state | f32 |";
    let rows = rows_below(&text_of("README.md"), heading);
    assert_eq!(rows.len(), TASKS.len());
    for (row, (title, flags)) in rows.iter().zip(TASKS) {
        assert_eq!(row[0], title);
        let shown = row[1..].iter().map(|cell| per_cent(cell)[0]);
        let shown: Vec<_> = shown.collect();
        let of_train = measured(flags).into_iter().map(|cell| per_cent(&cell)[0]);
        assert_eq!(shown, of_train.collect::<Vec<_>>(), "{title}");
        for accuracy in &shown {
            assert!((accuracy - shown[0]).abs() <= 0.5, "{title}: {accuracy}");
        }
    }
}
