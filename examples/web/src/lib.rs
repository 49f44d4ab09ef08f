//! What the page calls: the functions and rules there are, a function's relief, and races between
//! optimizers on the browser's WebGPU, or on the CPU twin without it, and the
//! check of every rule.
//!
//! The functions, the descent, how rules are written, random problems, levels and colours are the other
//! examples' own files.

mod basins;
mod catalog;
mod errors;
mod race;
mod relief;
mod setting;
mod verify;

#[path = "../../verify/accuracy.rs"]
#[allow(dead_code)] // State in fewer bits uses more of it.
mod accuracy;
#[path = "../../verify/budget.rs"]
#[allow(dead_code)] // Reports use more of it.
mod budget;
#[path = "../../landscape/descent/mod.rs"]
#[allow(dead_code, unused_imports)] // Searches and basins use more of it.
mod descent;
#[path = "../../landscape/fates.rs"]
mod fates;
#[path = "../../landscape/functions/mod.rs"]
mod functions;
#[path = "../../report/src/levels.rs"]
mod levels;
#[path = "../../report/src/number.rs"]
#[allow(dead_code)] // Tables use more of it.
mod number;
#[path = "../../report/src/palette.rs"]
#[allow(dead_code)] // Heat maps use more of it.
mod palette;
#[path = "../../verify/problem.rs"]
#[allow(dead_code)] // Tests use more of it.
mod problem;
#[path = "../../flags/src/rule.rs"]
#[allow(dead_code)] // Networks use more of it.
mod rule;
#[path = "../../verify/subject.rs"]
mod subject;
#[path = "../../flags/src/title.rs"]
mod title;
#[path = "../../verify/variant.rs"]
mod variant;

// What title.rs takes from its own package.
use rule::RuleText;
