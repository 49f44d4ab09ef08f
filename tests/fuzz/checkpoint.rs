//! Any bytes, as a checkpoint: it is refused, or loaded as a whole.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::{Corpus, fuzz_target};
use wgpu_optim::{Checkpoint, Layout, Save, cpu, rules::AdamW};

type Twin = cpu::Optimizer<f32>;

/// An optimizer after one step, and the file of it.
fn start() -> &'static (Twin, Vec<u8>) {
    static START: OnceLock<(Twin, Vec<u8>)> = OnceLock::new();
    START.get_or_init(|| {
        let mut layout = Layout::new();
        let group = layout.group(AdamW::default()).unwrap();
        let tensor = layout.tensor(group, "a", &[2]).unwrap();
        let mut twin = Twin::new(&layout).unwrap();
        twin.grad_mut(tensor).unwrap().fill(1.0);
        twin.step().unwrap();
        let file = twin.save_bytes(&Save::default()).unwrap();
        (twin, file)
    })
}

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let (start, file) = start();
    let mut twin = start.clone();
    match Checkpoint::from_bytes(bytes.to_vec()).and_then(|checkpoint| twin.load(&checkpoint)) {
        Ok(()) => Corpus::Keep,
        Err(_) => {
            assert!(&twin.save_bytes(&Save::default()).unwrap() == file);
            Corpus::Keep
        }
    }
});
