//! Which names a text of WGSL declares.

/// Words that may stand between `var` and a name.
const OF_VAR: [&str; 7] = [
    "workgroup",
    "private",
    "storage",
    "uniform",
    "read",
    "read_write",
    "function",
];

/// The names that this line declares, local ones too.
fn declared(line: &str) -> impl Iterator<Item = &str> {
    let code = line.split("//").next().unwrap_or(line);
    let words = code.split(|c: char| !c.is_alphanumeric() && c != '_');
    let mut words = words.filter(|word| !word.is_empty());
    std::iter::from_fn(move || {
        loop {
            match words.next()? {
                "fn" | "struct" | "alias" | "const" | "override" => return words.next(),
                "var" => return words.find(|word| !OF_VAR.contains(word)),
                _ => {}
            }
        }
    })
}

/// Whether `own` declares a name that one of `files` has outside of its functions. There, only such lines are
/// not indented.
pub fn clash(own: &str, files: &[&str]) -> bool {
    let names: Vec<_> = own.lines().flat_map(declared).collect();
    let lines = files.iter().flat_map(|file| file.lines());
    let mut outside = lines.filter(|line| !line.starts_with(' '));
    outside.any(|line| declared(line).any(|name| names.contains(&name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_where_they_are_declared() {
        let found = |line| declared(line).collect::<Vec<_>>();
        for (line, names) in [
            ("fn keep(group: u32) -> u32 {", &["keep"][..]),
            ("struct Step { t: u32 }", &["Step"]),
            ("var<workgroup> now: Step;", &["now"]),
            (
                "@group(0) @binding(18) var<storage, read_write> ring: array<f32>;",
                &["ring"],
            ),
            (
                "    var s = 1; const KEPT = 2; // fn other()",
                &["s", "KEPT"],
            ),
            ("    keep(fn_of(1u));", &[]),
        ] {
            assert_eq!(found(line), names, "{line}");
        }
    }

    #[test]
    fn what_a_file_has_within_its_functions_clashes_with_nothing() {
        let file = "fn keep() {\n    var kept = 1u;\n}\n";
        assert!(clash("fn update() {}\nfn keep(x: f32) {}", &["", file]));
        assert!(!clash("fn update() { keep(); }\nfn kept() {}", &["", file]));
    }
}
