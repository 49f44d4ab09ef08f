//! What the page calls: the functions and rules there are, a function's relief, races between optimizers,
//! the training of a network, the check of every rule, and timings. All on the browser's WebGPU; all but
//! the timings on the CPU twin without it.
//!
//! The functions, the descent, random problems, levels, colours and what is timed are the other examples'
//! own files. Networks and how rules are written are their packages.

mod basins;
mod catalog;
mod clock;
mod digits;
mod errors;
mod pad;
mod race;
mod relief;
mod setting;
mod timing;
mod training;
mod verify;

#[path = "../../verify/accuracy.rs"]
#[allow(dead_code)] // State in fewer bits uses more of it.
mod accuracy;
#[path = "../../verify/budget.rs"]
#[allow(dead_code)] // Reports use more of it.
mod budget;
#[path = "../../bench/copies.rs"]
mod copies;
#[path = "../../landscape/descent/mod.rs"]
#[allow(dead_code, unused_imports)] // Searches and basins use more of it.
mod descent;
#[path = "../../landscape/fates.rs"]
mod fates;
#[path = "../../landscape/functions/mod.rs"]
mod functions;
#[path = "../../report/src/levels.rs"]
mod levels;
#[path = "../../compare/line.rs"]
mod line;
#[path = "../../report/src/number.rs"]
#[allow(dead_code)] // Tables use more of it.
mod number;
#[path = "../../report/src/palette.rs"]
#[allow(dead_code)] // Heat maps use more of it.
mod palette;
#[path = "../../verify/problem.rs"]
#[allow(dead_code)] // Tests use more of it.
mod problem;
#[path = "../../bench/row.rs"]
#[allow(dead_code)] // Tables use more of it.
mod row;
#[path = "../../bench/statistics.rs"]
mod statistics;
#[path = "../../bench/gpu.rs"]
#[allow(dead_code)] // Headings use more of it.
mod steps;
#[path = "../../bench/streams.rs"]
mod streams;
#[path = "../../verify/subject.rs"]
mod subject;
#[path = "../../verify/variant.rs"]
mod variant;
#[path = "../../bench/workload.rs"]
#[allow(dead_code)] // Comparisons use more of it.
mod workload;
