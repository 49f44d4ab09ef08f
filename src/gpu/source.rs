//! Shaders that are put together and not compiled yet.

use std::sync::{Arc, OnceLock};

use crate::Rule;

/// The text of a shader, and one of its entry points. Dispatches that run the same shader share it.
#[derive(Debug)]
pub(super) struct ShaderSource {
    pub text: String,
    pub entry_point: &'static str,
    pub label: String,
    /// What the shader does, for errors.
    pub what: String,
    /// How many bytes of the text are a rule's own. They come first.
    pub rule_bytes: Option<usize>,
    /// Set once it is compiled.
    pub compiled: OnceLock<wgpu::ComputePipeline>,
}

impl ShaderSource {
    /// One of this crate's own shaders.
    pub fn new(text: String, entry_point: &'static str) -> Arc<Self> {
        let what = format!("the shader {entry_point}");
        Self::described(text, entry_point, entry_point, &what)
    }

    /// One of this crate's own shaders, with a description for errors.
    pub fn described(
        text: String,
        entry_point: &'static str,
        label: &str,
        what: &str,
    ) -> Arc<Self> {
        Arc::new(Self {
            text,
            entry_point,
            label: label.to_owned(),
            what: what.to_owned(),
            rule_bytes: None,
            compiled: OnceLock::new(),
        })
    }

    /// A shader whose text begins with that of `rule`.
    pub fn of_rule(rule: &dyn Rule, text: String, entry_point: &'static str) -> Arc<Self> {
        Arc::new(Self {
            text,
            entry_point,
            label: rule.name().to_owned(),
            what: format!("the shader {entry_point} of rule {}", rule.name()),
            rule_bytes: Some(rule.wgsl().len()),
            compiled: OnceLock::new(),
        })
    }
}
