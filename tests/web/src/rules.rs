//! Options and formats against the twin.

use wgpu::BufferUsages;
use wgpu_optim::{
    Average, BufferRange, Buffers, Clip, Format, Formats, Gpu, Layout, LossScale, Optimizer,
    Options, cpu, rules,
};

use crate::{Outcome, ensure};

const STEPS: usize = 4;

const SHAPES: [[usize; 2]; 2] = [[8, 16], [5, 3]];

/// Of what parameters move at the most.
const OF_MOVEMENT: f64 = 2e-4;

/// Parameters stay about below 1, where each step rounds by 2⁻²⁵.
const OF_ROUNDING: f64 = STEPS as f64 / (1 << 25) as f64;

/// The part of the parameters that may be elsewhere in formats of fewer bits: where device and twin
/// differ in the last bit of an f32, chance may round it to the other neighbour.
const ROUNDED_OTHERWISE: f64 = 0.02;

/// Numbers from -1 to 1 that look random. Every format holds them.
fn numbers(count: usize, seed: usize) -> Vec<f32> {
    let number = |index: usize| {
        let mixed = (index as u32 + 1).wrapping_mul(2654435761) ^ (seed as u32).wrapping_mul(40503);
        let mixed = (mixed ^ (mixed >> 15)).wrapping_mul(2246822519);
        // Odd, so that none is zero.
        ((mixed >> 24) | 1) as f32 / 128.0 - 1.0
    };
    (0..count).map(number).collect()
}

/// A rule and what surrounds it.
#[derive(Default)]
struct Case {
    rule: &'static str,
    options: Options,
    formats: Formats,
    /// Whether parameters and gradients lie in buffers of the caller's, off the quads.
    in_ranges: bool,
}

impl Case {
    fn of(rule: &'static str) -> Self {
        Self {
            rule,
            ..Self::default()
        }
    }

    fn name(&self) -> String {
        let Self {
            rule,
            options,
            formats,
            in_ranges,
        } = self;
        let Formats {
            params,
            grads,
            state,
            ..
        } = formats;
        let place = if *in_ranges { "ranges" } else { "arenas" };
        let average = options.average.is_some();
        format!(
            "{rule} in {place}, {params} {grads} {state}, {:?}, average: {average}",
            options.clip
        )
    }
}

/// Rules that are a single update, that take sums, means of rows and columns, and products of matrices.
const OF_EACH_KIND: [&str; 4] = ["adamw", "lamb", "adafactor", "muon"];

pub async fn options(gpu: &Gpu) -> Outcome {
    let clips = [
        Clip::Value(0.5),
        Clip::GlobalNorm(1.0),
        Clip::TensorNorm(0.5),
    ];
    let scaled = clips.map(|clip| Options {
        clip,
        loss_scale: Some(LossScale {
            init_scale: 4.0,
            ..LossScale::default()
        }),
        zero_grad: true,
        ..Options::default()
    });
    let averaged = Options {
        average: Some(Average {
            decay: 0.5,
            debias: true,
        }),
        ..Options::default()
    };
    let all = scaled.into_iter().chain([averaged]);
    let cases = all.flat_map(|options| {
        OF_EACH_KIND.map(|rule| Case {
            options: options.clone(),
            ..Case::of(rule)
        })
    });
    check(gpu, cases).await
}

pub async fn formats(gpu: &Gpu) -> Outcome {
    let f32 = Formats::default();
    let of = |all: &'static [Format], set: fn(&mut Formats, Format)| {
        let others = all.iter().filter(|format| **format != Format::F32);
        others.map(move |format| {
            let mut formats = f32;
            set(&mut formats, *format);
            formats
        })
    };
    let all = Formats {
        params: Format::Bf16,
        grads: Format::Bf16,
        state: Format::Int8,
        ..f32
    };
    let formats = of(Formats::STATE, |formats, state| formats.state = state)
        .chain(of(Formats::GRADS, |formats, grads| formats.grads = grads))
        .chain(of(Formats::PARAMS, |formats, params| {
            formats.params = params
        }))
        .chain(of(Formats::COPIES, |formats, copy| {
            formats.copy = Some(copy)
        }))
        .chain([all]);
    // Its previous gradients stay f32 unless asked.
    let sensitive = Formats {
        sensitive: Format::Bf16,
        ..f32
    };
    let of_rules = formats
        .map(|formats| ("adamw", formats))
        .chain([("adan", sensitive)]);
    let cases = of_rules.flat_map(|(rule, formats)| {
        [false, true].map(|in_ranges| Case {
            formats,
            in_ranges,
            ..Case::of(rule)
        })
    });
    check(gpu, cases).await
}

async fn check(gpu: &Gpu, cases: impl IntoIterator<Item = Case>) -> Outcome {
    let mut worst = (0.0f64, String::new());
    let mut count = 0;
    for case in cases {
        // What is rounded by chance is the same in the twin in f32.
        let part = match case.formats == Formats::default() {
            true => difference::<f64>(gpu, &case, 0.0).await?,
            false => difference::<f32>(gpu, &case, ROUNDED_OTHERWISE).await?,
        };
        if part >= worst.0 {
            worst = (part, case.name());
        }
        count += 1;
    }
    let (part, name) = worst;
    ensure(part < 1.0, || {
        format!("{name} is off by {part} of the tolerance")
    })?;
    Ok(format!(
        "{count} cases, {name} at {part:.2} of the tolerance"
    ))
}

/// Where the tensors of `layout` lie in a new buffer, one behind another from byte 4 on.
fn placed(
    gpu: &Gpu,
    layout: &Layout,
    format: Format,
) -> Result<Vec<BufferRange>, wgpu_optim::Error> {
    let mut end = 4;
    let mut places = Vec::new();
    for tensor in layout.tensors() {
        // Other bits of a parameter than these 16 are the optimizer's.
        let of_element = if format == Format::F32 { 4 } else { 2 };
        let bytes = layout.element_count(tensor)? as u64 * of_element;
        let size = bytes.next_multiple_of(4);
        places.push((end, size));
        end += size;
    }
    let buffer = gpu.device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: end,
        usage: BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    let range = |(offset, size)| BufferRange {
        buffer: buffer.clone(),
        offset,
        size,
    };
    Ok(places.into_iter().map(range).collect())
}

/// The largest difference after some steps, as a part of the tolerance. The given part of all
/// parameters does not count.
async fn difference<T: cpu::Real + From<f32> + Into<f64>>(
    gpu: &Gpu,
    case: &Case,
    spared: f64,
) -> Result<f64, Box<dyn std::error::Error>> {
    let mut layout = Layout::new();
    let group = layout.group_in(rules::by_name(case.rule)?, case.formats)?;
    for (index, shape) in SHAPES.iter().enumerate() {
        layout.tensor(group, &index.to_string(), shape)?;
    }
    let options = case.options.clone();
    let mut twin = cpu::Optimizer::<T>::with_options(&layout, options.clone())?;
    let mut optimizer = match case.in_ranges {
        true => {
            let buffers = Buffers {
                params: placed(gpu, &layout, case.formats.params)?,
                grads: Some(placed(gpu, &layout, case.formats.grads)?),
                ..Default::default()
            };
            Optimizer::over_async(&gpu.device, &layout, buffers, options).await?
        }
        false => Optimizer::new_async(&gpu.device, &layout, options).await?,
    };
    let widened = |values: &[f32]| {
        values
            .iter()
            .map(|x| -> T { (*x).into() })
            .collect::<Vec<_>>()
    };
    for (index, tensor) in layout.tensors().enumerate() {
        let start = numbers(layout.element_count(tensor)?, index);
        optimizer.write_param(&gpu.queue, tensor, &start)?;
        twin.param_mut(tensor)?.copy_from_slice(&widened(&start));
    }
    for step in 1..=STEPS {
        for (index, tensor) in layout.tensors().enumerate() {
            let count = layout.element_count(tensor)?;
            let grad = numbers(count, 10 * step + index);
            optimizer.write_grad(&gpu.queue, tensor, &grad)?;
            twin.grad_mut(tensor)?.copy_from_slice(&widened(&grad));
        }
        let mut encoder = gpu.device.create_command_encoder(&Default::default());
        optimizer.step(&mut encoder)?;
        if step == STEPS {
            optimizer.evaluate(&mut encoder)?;
        }
        gpu.queue.submit([encoder.finish()]);
        twin.step()?;
    }
    twin.evaluate();
    let (mut errors, mut moved) = (Vec::new(), 0.0f64);
    for (index, tensor) in layout.tensors().enumerate() {
        let found = optimizer.read_param(&gpu.queue, tensor).await?;
        let start = numbers(found.len(), index);
        for ((found, truth), start) in found.iter().zip(twin.param(tensor)?).zip(start) {
            let truth: f64 = (*truth).into();
            errors.push((f64::from(*found) - truth).abs());
            moved = moved.max((truth - f64::from(start)).abs());
        }
    }
    ensure(moved > 0.0, || format!("{} moves nothing", case.name()))?;
    let is_number = errors.iter().all(|error| !error.is_nan());
    ensure(is_number, || format!("{} makes NaN", case.name()))?;
    errors.sort_by(f64::total_cmp);
    errors.truncate(errors.len() - (spared * errors.len() as f64) as usize);
    let error = errors.last().copied().ok_or("there are no parameters")?;
    Ok(error / (OF_MOVEMENT * moved + OF_ROUNDING))
}
