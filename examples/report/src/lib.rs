//! Pages, pictures and progress: what the examples show.
