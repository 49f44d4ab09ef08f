//! Rust code as rustfmt would lay it out, from what `stringify!` makes of it.

/// The longest line.
const WIDTH: usize = 40;
const INDENT: usize = 4;

/// Lays out an expression or statements.
pub fn formatted(code: &str) -> String {
    let code = code.split_whitespace().collect::<Vec<_>>().join(" ");
    let statements = parts(&code, is_end);
    let lines: Vec<_> = statements
        .iter()
        .map(|text| laid_out(text.trim(), 0))
        .collect();
    lines.join("\n")
}

/// In one line if it fits, else with the contents of its outermost brackets on lines of their own.
fn laid_out(code: &str, indent: usize) -> String {
    if indent + code.len() <= WIDTH {
        return code.to_owned();
    }
    let Some((open, close)) = outermost(code) else {
        return code.to_owned();
    };
    let (head, body, tail) = (&code[..=open], &code[open + 1..close], &code[close..]);
    let is_block = head.ends_with('{') && body.contains(';');
    let items = parts(body, if is_block { is_end } else { is_comma });
    if let ([only], true) = (&items[..], head.ends_with('(')) {
        // As rustfmt does, a call hugs its only argument.
        return format!("{head}{}{tail}", laid_out(only.trim(), indent));
    }
    let deeper = indent + INDENT;
    let line = |text: &String| {
        let text = text.trim().trim_end_matches(',');
        // The rest of a struct takes no comma.
        let end = if is_block || text.starts_with("..") {
            ""
        } else {
            ","
        };
        format!("{}{}{end}\n", " ".repeat(deeper), laid_out(text, deeper))
    };
    let items = items.iter().filter(|text| !text.trim().is_empty());
    let items: String = items.map(line).collect();
    format!("{head}\n{items}{}{tail}", " ".repeat(indent))
}

/// The longest pair of brackets that is not within another.
fn outermost(code: &str) -> Option<(usize, usize)> {
    let (mut depth, mut start, mut best) = (0usize, 0, None);
    for (index, char) in code.char_indices() {
        match char {
            '{' | '(' | '[' => {
                if depth == 0 {
                    start = index;
                }
                depth += 1;
            }
            '}' | ')' | ']' => {
                depth = depth.saturating_sub(1);
                let is_longer = best.is_none_or(|(open, close)| index - start > close - open);
                if depth == 0 && is_longer {
                    best = Some((start, index));
                }
            }
            _ => {}
        }
    }
    best
}

fn is_comma(char: char, _: &str) -> bool {
    char == ','
}

/// A statement ends at its semicolon, or at the brace of a loop.
fn is_end(char: char, statement: &str) -> bool {
    char == ';' || char == '}' && statement.trim_start().starts_with("for ")
}

/// Splits after what ends a part, outside of brackets.
fn parts(code: &str, ends: impl Fn(char, &str) -> bool) -> Vec<String> {
    let (mut depth, mut parts) = (0usize, vec![String::new()]);
    for char in code.chars() {
        match char {
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if let Some(part) = parts.last_mut() {
            part.push(char);
            if depth == 0 && ends(char, part) {
                parts.push(String::new());
            }
        }
    }
    parts.retain(|part| !part.trim().is_empty());
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_code_is_one_line() {
        assert_eq!(formatted("Schedule :: Constant"), "Schedule :: Constant");
        assert_eq!(formatted("Step { every:\n 3 }"), "Step { every: 3 }");
    }

    #[test]
    fn long_code_breaks_at_its_outermost_brackets() {
        let code = "Schedule::OneCycle(OneCycle { three_phase: true, shape: Shape::Linear, ..OneCycle::over(steps) })";
        let expected = "\
Schedule::OneCycle(OneCycle {
    three_phase: true,
    shape: Shape::Linear,
    ..OneCycle::over(steps)
})";
        assert_eq!(formatted(code), expected);
    }

    #[test]
    fn statements_stand_below_each_other() {
        let code =
            "let a = 1; for k in 0..3 { let b = very_long_name_number_one; push(b); } (a, b)";
        let expected = "\
let a = 1;
for k in 0..3 {
    let b = very_long_name_number_one;
    push(b);
}
(a, b)";
        assert_eq!(formatted(code), expected);
    }

    #[test]
    fn nothing_is_lost() {
        let code = "Sequence { phases: vec![(steps / 4, Constant), (steps / 4, Linear { start: 1.0, end: 0.2 })], last: Box::new(Constant) }";
        let bare = |text: &str| text.replace([' ', '\n', ','], "");
        assert_eq!(bare(&formatted(code)), bare(code));
    }
}
