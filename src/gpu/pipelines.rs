//! Compiled shaders, and the errors of those that do not compile.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

#[cfg(not(target_family = "wasm"))]
use rayon::prelude::*;

#[cfg(not(target_family = "wasm"))]
use super::needs::ShaderNeeds;
use super::source::ShaderSource;
use crate::{
    Error, ShaderLocation,
    buffer::{Answer, begun},
    shader::{Access, Pass},
};

/// Compiled shaders by text and entry point. Groups with the same rule and variant share one.
#[derive(Debug, Default)]
pub(super) struct Pipelines {
    /// The caller's cache, which speeds up compiling.
    cache: Option<wgpu::PipelineCache>,
    by_shader: HashMap<(String, &'static str), wgpu::ComputePipeline>,
    /// The shaders of groups. With this key the text need not be put together again.
    by_group: HashMap<(usize, Access, Pass), Arc<ShaderSource>>,
}

impl Pipelines {
    pub fn new(cache: Option<wgpu::PipelineCache>) -> Self {
        Self {
            cache,
            ..Self::default()
        }
    }

    /// The shader of a group. `source` puts it together.
    pub fn of_group(
        &mut self,
        key: (usize, Access, Pass),
        source: impl FnOnce() -> Arc<ShaderSource>,
    ) -> Arc<ShaderSource> {
        self.by_group.entry(key).or_insert_with(source).clone()
    }

    /// Compiles those of `sources` that are not compiled yet, side by side.
    ///
    /// # Errors
    /// The error of the first that does not compile.
    pub async fn compile<'a>(
        &mut self,
        device: &wgpu::Device,
        sources: impl IntoIterator<Item = &'a ShaderSource>,
    ) -> Result<(), Error> {
        let sources = sources.into_iter();
        let wanted: Vec<_> = sources
            .filter(|source| source.compiled.get().is_none())
            .map(|source| (source, (source.text.clone(), source.entry_point)))
            .collect();
        let mut seen = HashSet::new();
        let missing: Vec<_> = wanted
            .iter()
            .filter(|(_, key)| !self.by_shader.contains_key(key) && seen.insert(key))
            .collect();
        let sources: Vec<_> = missing.iter().map(|(source, _)| *source).collect();
        let compiled = side_by_side(device, self.cache.as_ref(), &sources).await;
        let mut error = None;
        for ((_, key), compiled) in missing.into_iter().zip(compiled) {
            match compiled {
                Ok(pipeline) => {
                    self.by_shader.insert(key.clone(), pipeline);
                }
                Err(found) => error = error.or(Some(found)),
            }
        }
        for (source, key) in &wanted {
            if let Some(pipeline) = self.by_shader.get(key) {
                source.compiled.get_or_init(|| pipeline.clone());
            }
        }
        error.map_or(Ok(()), Err)
    }
}

/// The compiler takes long and has no state, so each thread takes a shader. wgpu keeps error scopes
/// for each thread.
#[cfg(not(target_family = "wasm"))]
async fn side_by_side(
    device: &wgpu::Device,
    cache: Option<&wgpu::PipelineCache>,
    sources: &[&ShaderSource],
) -> Vec<Result<wgpu::ComputePipeline, Error>> {
    let compile = |source: &&ShaderSource| {
        let compiling = Compiling::begin(device, cache, source)?;
        pollster::block_on(compiling.end(device, source))
    };
    sources.par_iter().map(compile).collect()
}

/// A browser has threads of its own, so all are begun before the first is waited for.
#[cfg(target_family = "wasm")]
async fn side_by_side(
    device: &wgpu::Device,
    cache: Option<&wgpu::PipelineCache>,
    sources: &[&ShaderSource],
) -> Vec<Result<wgpu::ComputePipeline, Error>> {
    let begun = sources
        .iter()
        .map(|source| Compiling::begin(device, cache, source));
    let begun: Vec<_> = begun.collect();
    let mut compiled = Vec::new();
    for (compiling, source) in begun.into_iter().zip(sources) {
        compiled.push(match compiling {
            Ok(compiling) => compiling.end(device, source).await,
            Err(error) => Err(error),
        });
    }
    compiled
}

/// A shader that is being compiled.
struct Compiling {
    module: wgpu::ShaderModule,
    parsed: Answer,
    pipeline: wgpu::ComputePipeline,
    compiled: Answer,
}

impl Compiling {
    fn begin(
        device: &wgpu::Device,
        cache: Option<&wgpu::PipelineCache>,
        source: &ShaderSource,
    ) -> Result<Self, Error> {
        // Reading the shader takes a while. No shader of this crate's needs more than the defaults.
        if !wgpu::Limits::default().check_limits(&device.limits()) {
            check_needs(device, source)?;
        }
        let label = &source.label;
        let (module, parsed) = begun(device, label, || {
            device.create_shader_module(wgpu::ShaderModuleDescriptor {
                label: Some(label),
                source: wgpu::ShaderSource::Wgsl((&source.text).into()),
            })
        });
        // Of a module that is in error this makes a pipeline that is in error too.
        let (pipeline, compiled) = begun(device, label, || {
            device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(label),
                layout: None,
                module: &module,
                entry_point: Some(source.entry_point),
                compilation_options: Default::default(),
                cache,
            })
        });
        Ok(Self {
            module,
            parsed,
            pipeline,
            compiled,
        })
    }

    async fn end(
        self,
        device: &wgpu::Device,
        source: &ShaderSource,
    ) -> Result<wgpu::ComputePipeline, Error> {
        if let Err(error) = self.parsed.get().await {
            let information = self.module.get_compilation_info().await;
            return Err(shader_error(source, error, information.messages));
        }
        if let Err(error) = self.compiled.get().await {
            // If the device has too little for the shader, that is the better error.
            check_needs(device, source)?;
            return Err(shader_error(source, error, Vec::new()));
        }
        Ok(self.pipeline)
    }
}

/// Refuses a shader that the device has too little for. wgpu would say so in other words, or, of
/// memory that a workgroup shares, not at all.
fn check_needs(device: &wgpu::Device, source: &ShaderSource) -> Result<(), Error> {
    // A browser has a compiler of its own, and no device below the defaults.
    #[cfg(not(target_family = "wasm"))]
    if let Some(needs) = ShaderNeeds::of(&source.text, source.entry_point) {
        return needs.check(&source.what, &device.limits());
    }
    let _ = (device, &source.what);
    Ok(())
}

/// Finds the place in the rule's own text that the compiler complained about. An error in a shader
/// of this crate's own stays what it is.
fn shader_error(
    source: &ShaderSource,
    error: Error,
    messages: Vec<wgpu::CompilationMessage>,
) -> Error {
    let (what, mut message, rule_bytes) = match (error, source.rule_bytes) {
        (Error::Wgpu { what, message }, Some(bytes)) => (what, message, bytes),
        (other, _) => return other,
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
    let of_rule = source.text.get(..rule_bytes).unwrap_or_default();
    let before = place.and_then(|place| of_rule.get(..place.offset as usize));
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
    use crate::{Gpu, GpuOptions, rules::Adam};

    const EMPTY: &str = "@compute @workgroup_size(1) fn main() {}";

    fn gpu() -> Gpu {
        Gpu::open_blocking(&GpuOptions::default()).unwrap()
    }

    fn source(label: &str, text: &str) -> Arc<ShaderSource> {
        ShaderSource::described(text.to_owned(), "main", label, label)
    }

    fn compile(
        pipelines: &mut Pipelines,
        device: &wgpu::Device,
        sources: &[Arc<ShaderSource>],
    ) -> Result<(), Error> {
        pollster::block_on(pipelines.compile(device, sources.iter().map(|source| &**source)))
    }

    #[test]
    fn the_first_error_in_order_is_returned_and_the_others_are_compiled() {
        let device = gpu().device;
        let other = format!("{EMPTY} const other = 1;");
        let sources = [
            source("good", EMPTY),
            // It is parsed, but has no such entry point.
            source("first", "const nothing = 0;"),
            source("second", "no WGSL"),
            source("other", &other),
        ];
        let pipelines = &mut Pipelines::default();
        let error = compile(pipelines, &device, &sources).unwrap_err();
        assert!(
            matches!(&error, Error::Wgpu { what, .. } if what == "first"),
            "{error}"
        );
        let compiled = sources.map(|source| source.compiled.get().is_some());
        assert_eq!(compiled, [true, false, false, true]);
        let second = source("second", "no WGSL");
        let error = compile(pipelines, &device, &[second]).unwrap_err();
        assert!(
            matches!(&error, Error::Wgpu { what, .. } if what == "second"),
            "{error}"
        );
        // Nothing of what failed is left.
        compile(pipelines, &device, &[source("good", EMPTY)]).unwrap();
    }

    #[test]
    fn equal_shaders_are_compiled_once() {
        let device = gpu().device;
        let pipelines = &mut Pipelines::default();
        let sources = ["one", "two"].map(|label| source(label, EMPTY));
        compile(pipelines, &device, &sources).unwrap();
        let later = source("three", EMPTY);
        compile(pipelines, &device, std::slice::from_ref(&later)).unwrap();
        assert_eq!(pipelines.by_shader.len(), 1);
        let [one, two] = &sources;
        assert!(one.compiled.get().is_some());
        assert_eq!(one.compiled.get(), two.compiled.get());
        assert_eq!(one.compiled.get(), later.compiled.get());
    }

    /// The threads of a pool may all wait for pipelines.
    #[test]
    fn a_pool_of_one_thread_compiles_too() {
        let device = gpu().device;
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1);
        let texts = (0..4).map(|number| format!("{EMPTY} const number = {number};"));
        let sources: Vec<_> = texts.map(|text| source("numbered", &text)).collect();
        let compiled = pool.build().unwrap().install(|| {
            let pipelines = &mut Pipelines::default();
            compile(pipelines, &device, &sources)
        });
        assert_eq!(compiled, Ok(()));
    }

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
            let source = ShaderSource::of_rule(&Adam::default(), String::new(), "main");
            match shader_error(&source, error, messages) {
                Error::Shader { message, .. } => message,
                other => panic!("{other}"),
            }
        };
        // As Firefox and Chromium say it.
        assert_eq!(told("it failed"), "it failed\nno value 'foo'");
        assert_eq!(told("parsing: no value 'foo'"), "parsing: no value 'foo'");
    }
}
