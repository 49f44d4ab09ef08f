//! The caller's pipeline cache is used to compile shaders.

mod support;

use support::*;
use wgpu_optim::{Clip, Error, Gpu, Layout, Optimizer, Options, wgpu};

/// None where there is no such thing.
fn cache(gpu: &Gpu, data: Option<&[u8]>) -> Option<wgpu::PipelineCache> {
    let feature = wgpu::Features::PIPELINE_CACHE;
    if !gpu.adapter.features().contains(feature) {
        let wgpu::AdapterInfo { name, backend, .. } = &gpu.info;
        println!("not run: {name} ({backend}) has no pipeline caches");
        return None;
    }
    assert!(gpu.device.features().contains(feature), "Gpu turns it on");
    let descriptor = wgpu::PipelineCacheDescriptor {
        label: None,
        data,
        fallback: false,
    };
    // SAFETY: the data are those of a cache of the same adapter.
    Some(unsafe { gpu.device.create_pipeline_cache(&descriptor) })
}

fn compile(gpu: &Gpu, cache: wgpu::PipelineCache) -> Result<Optimizer, Error> {
    let mut layout = Layout::new();
    let group = layout.group(rule("lamb")).unwrap();
    layout.tensor(group, "x", &[2, 2]).unwrap();
    let options = Options {
        clip: Clip::GlobalNorm(1.0),
        pipeline_cache: Some(cache),
        ..Default::default()
    };
    Optimizer::new(&gpu.device, &layout, options)
}

#[test]
fn a_cache_is_filled_and_what_it_held_can_be_loaded_again() {
    let Some(empty) = cache(gpu(), None) else {
        return;
    };
    let filled = cache(gpu(), None).unwrap();
    compile(gpu(), filled.clone()).unwrap();
    let [empty, filled] = [empty, filled].map(|cache| cache.get_data().unwrap());
    if filled.len() <= empty.len() {
        println!("{} keeps nothing in its caches", gpu().info.name);
    }
    assert!(!filled.is_empty());
    let loaded = cache(gpu(), Some(&filled)).unwrap();
    compile(gpu(), loaded).unwrap();
}

#[test]
fn a_cache_of_another_device_is_refused() {
    let other = pollster::block_on(Gpu::open_adapter(gpu().adapter.clone())).unwrap();
    if let Some(foreign) = cache(&other, None) {
        let error = compile(gpu(), foreign).unwrap_err();
        assert!(matches!(error, Error::Wgpu { .. }), "{error}");
    }
}
