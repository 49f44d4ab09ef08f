//! Pages, pictures and progress: what the examples show.
//!
//! A chart ([`LineChart`], [`ContourMap`], [`HeatMap`], [`Basins`], [`BarChart`]) becomes a
//! [`Picture`], pictures and tables become a [`Page`], and [`Output`] writes it where the user
//! wants it, as HTML, SVG or PNG.

mod axis;
mod bar_chart;
mod basins;
mod canvas;
mod contour_map;
mod ending;
pub mod facts;
mod frame;
mod heat_map;
mod interrupt;
mod json_lines;
mod legend;
mod levels;
mod line_chart;
mod marker;
pub mod number;
mod numbers_apart;
mod output;
mod page;
mod palette;
mod picture;
mod polyline;
mod progress;
mod text;
mod text_table;

pub use axis::{Axis, Scale};
pub use bar_chart::{Bar, BarChart};
pub use basins::{Basins, Cell};
pub use contour_map::{ContourMap, Grid, Trajectory};
pub use ending::exit_code;
pub use heat_map::{Better, HeatMap};
pub use interrupt::Interrupt;
pub use json_lines::JsonLines;
pub use line_chart::{Line, LineChart, Series};
pub use numbers_apart::numbers_apart;
pub use output::{FileType, Output};
pub use page::{Figure, Page, Section, Table};
pub use picture::Picture;
pub use progress::Progress;
