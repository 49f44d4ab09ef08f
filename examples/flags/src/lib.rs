//! What users choose on the command lines of the examples, alike in all of them: a device, rules,
//! a schedule, and what surrounds a step.

pub mod around;
pub mod device;
pub mod format;
pub mod number;
pub mod patience;
pub mod rule;
pub mod schedule;
pub mod scheduled;
mod title;

pub use around::Around;
pub use number::PositiveNumber;
pub use rule::{Assignment, RuleText, Rules};
pub use schedule::{Length, ScheduleFlags};
pub use scheduled::ScheduledRule;
