//! What the page calls: the functions and rules there are, a function's relief, and races between
//! optimizers on the browser's WebGPU, or on the CPU twin without it.
//!
//! The functions, the descent, how rules are written, levels and colours are the other examples' own
//! files.

mod catalog;
mod errors;
mod race;
mod relief;
mod setting;

#[path = "../../landscape/descent/mod.rs"]
#[allow(dead_code, unused_imports)] // Searches and basins use more of it.
mod descent;
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
#[path = "../../flags/src/rule.rs"]
#[allow(dead_code)] // Networks use more of it.
mod rule;
#[path = "../../flags/src/title.rs"]
mod title;

// What title.rs takes from its own package.
use rule::RuleText;
