//! Memory over many steps. A program of its own, so that nothing else allocates meanwhile.

mod support;

use burn::optim::GradientsParams;
use wgpu_optim_burn::rules::AdamW;
use wgpu_optim_burn::{FusedOptimizer, Options};

use support::{Cnn, Gradients, device, values};

/// Resident bytes of this process, where the system says so.
fn resident() -> Option<u64> {
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = pages.split_whitespace().nth(1)?.parse().ok()?;
    Some(4096 * pages)
}

#[test]
fn two_thousand_steps_take_no_more_memory_than_three_hundred() {
    if resident().is_none() {
        println!("not run: this system does not say how much memory a process has");
        return;
    }
    let device = device();
    let mut model = Cnn::new(&device);
    let mut optim = FusedOptimizer::new(AdamW::default(), Options::default());
    let mut after_warmup = 0;
    for step in 0..2000 {
        let grads = GradientsParams::from_grads(model.loss(step % 8, &device).backward(), &model);
        // Some steps lack a gradient: stand-ins and groups must not pile up either.
        let grads = Gradients(grads).of(&model, |path| path != "conv2.bias" || step % 5 != 0);
        model = optim.step(1e-3, model, grads);
        if step % 100 == 99 {
            // So that nothing is merely queued.
            let _ = values(&model);
        }
        if step == 299 {
            after_warmup = resident().unwrap();
        }
    }
    let end = resident().unwrap();
    let (before, after) = (after_warmup as f64 / 1048576.0, end as f64 / 1048576.0);
    println!(
        "{before:.1} MiB after 300 steps, {after:.1} MiB after 2000; {:?}",
        optim.counts()
    );
    assert!(after < before + 8.0, "from {before:.1} to {after:.1} MiB");
    assert_eq!(optim.counts().regrouped, 2);
}
