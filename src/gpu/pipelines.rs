//! Compiled shaders, and the errors of those that do not compile.

use std::collections::HashMap;

#[cfg(not(target_family = "wasm"))]
use super::needs::ShaderNeeds;
use crate::{
    Error, Rule, ShaderLocation,
    buffer::guarded,
    shader::{Access, Pass},
};

/// Compiled shaders by text and entry point. Groups with the same rule and variant share one.
#[derive(Debug, Default)]
pub(super) struct Pipelines {
    /// The caller's cache, which speeds up compiling.
    cache: Option<wgpu::PipelineCache>,
    by_shader: HashMap<(String, &'static str), wgpu::ComputePipeline>,
    /// The shaders of groups. With this key the text need not be put together again.
    by_group: HashMap<(usize, Access, Pass), wgpu::ComputePipeline>,
}

impl Pipelines {
    pub fn new(cache: Option<wgpu::PipelineCache>) -> Self {
        Self {
            cache,
            ..Self::default()
        }
    }

    /// Compiles one of this crate's own shaders.
    pub async fn compile(
        &mut self,
        device: &wgpu::Device,
        text: &str,
        entry_point: &'static str,
    ) -> Result<wgpu::ComputePipeline, Error> {
        let what = format!("the shader {entry_point}");
        let compiled = self.get(device, &what, entry_point, text, entry_point);
        compiled.await.map_err(|(error, _)| error)
    }

    /// The shader of a group's rule. `text` puts its text together.
    pub async fn of_group(
        &mut self,
        device: &wgpu::Device,
        key: (usize, Access, Pass),
        rule: &dyn Rule,
        text: impl FnOnce() -> String,
    ) -> Result<wgpu::ComputePipeline, Error> {
        if let Some(pipeline) = self.by_group.get(&key) {
            return Ok(pipeline.clone());
        }
        let (_, _, pass) = key;
        let text = text();
        let compiled = self.compile_rule(device, rule, &text, pass.entry_point());
        let pipeline = compiled.await?;
        self.by_group.insert(key, pipeline.clone());
        Ok(pipeline)
    }

    /// Compiles a shader whose text begins with that of `rule`.
    pub async fn compile_rule(
        &mut self,
        device: &wgpu::Device,
        rule: &dyn Rule,
        text: &str,
        entry_point: &'static str,
    ) -> Result<wgpu::ComputePipeline, Error> {
        let what = format!("the shader {entry_point} of rule {}", rule.name());
        let compiled = self.get(device, &what, rule.name(), text, entry_point);
        compiled
            .await
            .map_err(|(error, messages)| shader_error(rule, error, messages))
    }

    /// If the compiler found the error, its messages come with it. If the device has too little for
    /// the shader, the error says that of `what`.
    pub async fn get(
        &mut self,
        device: &wgpu::Device,
        what: &str,
        label: &str,
        text: &str,
        entry_point: &'static str,
    ) -> Result<wgpu::ComputePipeline, (Error, Vec<wgpu::CompilationMessage>)> {
        let key = (text.to_owned(), entry_point);
        if let Some(pipeline) = self.by_shader.get(&key) {
            return Ok(pipeline.clone());
        }
        // Reading the shader takes a while. No shader of this crate's needs more than the defaults.
        if !wgpu::Limits::default().check_limits(&device.limits()) {
            let checked = check_needs(device, what, text, entry_point);
            checked.map_err(|error| (error, Vec::new()))?;
        }
        let mut module = None;
        let parsed = guarded(device, label, || {
            module = Some(device.create_shader_module(wgpu::ShaderModuleDescriptor {
                label: Some(label),
                source: wgpu::ShaderSource::Wgsl(text.into()),
            }));
        });
        let parsed = parsed.await;
        if let (Err(error), Some(module)) = (parsed, &module) {
            let information = module.get_compilation_info().await;
            return Err((error, information.messages));
        }
        let compiled = guarded(device, label, || {
            Some(
                device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                    label: Some(label),
                    layout: None,
                    module: module.as_ref()?,
                    entry_point: Some(entry_point),
                    compilation_options: Default::default(),
                    cache: self.cache.as_ref(),
                }),
            )
        });
        let lost = || Error::DeviceLost {
            during: format!("compiling {label}"),
        };
        let compiled = compiled.await.and_then(|made| made.ok_or_else(lost));
        let pipeline = compiled.map_err(|error| {
            let checked = check_needs(device, what, text, entry_point);
            (checked.err().unwrap_or(error), Vec::new())
        })?;
        self.by_shader.insert(key, pipeline.clone());
        Ok(pipeline)
    }
}

/// Refuses a shader that the device has too little for. wgpu would say so in other words, or, of
/// memory that a workgroup shares, not at all.
fn check_needs(
    device: &wgpu::Device,
    what: &str,
    text: &str,
    entry_point: &str,
) -> Result<(), Error> {
    // A browser has a compiler of its own, and no device below the defaults.
    #[cfg(not(target_family = "wasm"))]
    if let Some(needs) = ShaderNeeds::of(text, entry_point) {
        return needs.check(what, &device.limits());
    }
    let _ = (device, what, text, entry_point);
    Ok(())
}

/// Finds the place in the rule's own text that the compiler complained about.
fn shader_error(rule: &dyn Rule, error: Error, messages: Vec<wgpu::CompilationMessage>) -> Error {
    let Error::Wgpu { what, mut message } = error else {
        return error;
    };
    // In Firefox only these say why.
    let is_error = |found: &&wgpu::CompilationMessage| {
        found.message_type == wgpu::CompilationMessageType::Error
    };
    for found in messages.iter().filter(is_error) {
        if !message.contains(&found.message) {
            message = format!("{message}\n{}", found.message);
        }
    }
    let place = messages.iter().find_map(|message| message.location);
    // The rule's text comes first. A place beyond it is in this crate's code.
    let before = place.and_then(|place| rule.wgsl().get(..place.offset as usize));
    let location = before.map(|before| {
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        ShaderLocation {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    });
    let place = match location {
        Some(ShaderLocation { line, column }) => {
            format!("at line {line}, column {column} of its WGSL")
        }
        None => "where the code around its WGSL uses it, see update_shader()".to_owned(),
    };
    Error::Shader {
        rule: what,
        place,
        location,
        message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::Adam;

    #[test]
    fn what_the_compiler_says_is_told_once() {
        let message = |message_type, text: &str| wgpu::CompilationMessage {
            message: text.to_owned(),
            message_type,
            location: None,
        };
        let told = |error: &str| {
            let error = Error::Wgpu {
                what: "adam".to_owned(),
                message: error.to_owned(),
            };
            let messages = vec![
                message(wgpu::CompilationMessageType::Warning, "unused variable"),
                message(wgpu::CompilationMessageType::Error, "no value 'foo'"),
            ];
            match shader_error(&Adam::default(), error, messages) {
                Error::Shader { message, .. } => message,
                other => panic!("{other}"),
            }
        };
        // As Firefox and Chromium say it.
        assert_eq!(told("it failed"), "it failed\nno value 'foo'");
        assert_eq!(told("parsing: no value 'foo'"), "parsing: no value 'foo'");
    }
}
