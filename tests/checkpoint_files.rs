//! Checkpoint files that were damaged, forged, or written when the process died or the disk was full.

mod support;

use std::{
    alloc::{GlobalAlloc, Layout as Block, System},
    cell::Cell,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use rand::RngExt;
use serde_json::{Value, json};
use support::{forged::forged, saved::Folder, *};
use wgpu_optim::{
    Checkpoint, Error, Layout, Save, cpu,
    rules::{Adafactor, AdamW, Asgd, Sgd},
};

thread_local! {
    /// Bytes that this thread holds, and the most that it held.
    static HELD: Cell<[isize; 2]> = const { Cell::new([0; 2]) };
}

/// Counts what each thread holds.
struct Counting;

fn hold(bytes: isize) {
    let [now, most] = HELD.get();
    HELD.set([now + bytes, most.max(now + bytes)]);
}

// SAFETY: all that it does with memory, the system's allocator does.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, block: Block) -> *mut u8 {
        hold(block.size() as isize);
        unsafe { System.alloc(block) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, block: Block) {
        hold(-(block.size() as isize));
        unsafe { System.dealloc(memory, block) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

type Twin = cpu::Optimizer<f32>;

/// Three rules that keep all kinds of state, after some steps.
fn stepped(steps: usize) -> Twin {
    let mut layout = Layout::new();
    let adamw = layout.group(AdamW::default()).unwrap();
    let adafactor = layout.group(Adafactor::default()).unwrap();
    let asgd = layout.group(Asgd::default()).unwrap();
    layout.tensor(adamw, "a", &[3]).unwrap();
    layout.tensor(adafactor, "b", &[2, 3]).unwrap();
    layout.tensor(asgd, "c", &[]).unwrap();
    let mut twin = Twin::new(&layout).unwrap();
    for step in 0..steps {
        for tensor in layout.tensors() {
            twin.grad_mut(tensor).unwrap().fill(1.0 + step as f32);
        }
        twin.step().unwrap();
    }
    twin
}

fn saved(twin: &Twin) -> Vec<u8> {
    let save = Save {
        user: [("epoch".to_owned(), "7".to_owned())].into(),
        ..Save::default()
    };
    twin.save_bytes(&save).unwrap()
}

/// Tries to load `bytes`, within memory for a small multiple of them.
fn load(twin: &mut Twin, bytes: Vec<u8>, label: &str) -> Result<(), Error> {
    let length = bytes.len() as isize;
    let [before, _] = HELD.get();
    HELD.set([before, before]);
    let loaded = Checkpoint::from_bytes(bytes).and_then(|checkpoint| twin.load(&checkpoint));
    let [_, most] = HELD.get();
    assert!(
        most - before < 20 * length + 100_000,
        "{label}: {} bytes",
        most - before
    );
    loaded
}

#[test]
fn a_hundred_thousand_damaged_files_are_refused_or_say_the_same() {
    let whole = saved(&stepped(5));
    let mut twin = stepped(2);
    let before = saved(&twin);
    let mut random = random(16);
    let (mut refused, mut harmless) = (0, 0);
    for round in 0..100_000 {
        let mut bytes = whole.clone();
        let at = random.random_range(0..bytes.len());
        match round % 8 {
            // Most of a file's bytes are in its header.
            0..=3 => bytes[at] ^= 1 << random.random_range(0..8),
            4 => bytes[at] = random.random(),
            5 => bytes.truncate(at),
            6 => {
                let other = random.random_range(0..bytes.len());
                bytes.swap(at, other);
            }
            _ => {
                let length = random.random_range(0..40.min(bytes.len() - at));
                let piece = bytes[at..at + length].to_vec();
                let to = random.random_range(0..bytes.len());
                bytes.splice(to..to, piece);
            }
        }
        if bytes == whole {
            continue;
        }
        match load(&mut twin, bytes, "damaged") {
            Err(Error::Checkpoint { .. }) => refused += 1,
            Err(other) => panic!("{other}"),
            // Such as a space for a line feed in the padding.
            Ok(()) => {
                assert!(saved(&twin) == whole);
                twin = stepped(2);
                harmless += 1;
            }
        }
        if round % 1000 == 0 {
            assert!(saved(&twin) == before, "a refused file left a trace");
        }
    }
    assert!(saved(&twin) == before);
    assert!(
        refused > 95_000 && harmless < 2_000,
        "{refused} refused, {harmless} harmless"
    );
}

#[test]
fn forged_files_are_refused_by_name() {
    let whole = saved(&stepped(5));
    let mut twin = stepped(2);
    let before = saved(&twin);
    load(
        &mut twin.clone(),
        forged(&whole, |_, _, _| {}),
        "the forger's work",
    )
    .unwrap();
    type Change = fn(&mut Value, &mut Value, &mut Vec<u8>);
    let cases: &[(&str, Change)] = &[
        ("state.a.exp_avg", |header, _, _| {
            header["state.a.exp_avg"]["dtype"] = json!("I32")
        }),
        ("state.a.exp_avg", |header, _, _| {
            header["state.a.exp_avg"]["shape"] = json!([1, 3])
        }),
        ("header", |header, _, _| {
            header["state.a.exp_avg"]["shape"] = json!([3, 1u64 << 63])
        }),
        ("header", |header, _, _| {
            header["state.a.exp_avg"]["dtype"] = json!("F128")
        }),
        ("header", |header, _, _| {
            header["model.b"]["data_offsets"] = header["model.a"]["data_offsets"].clone();
        }),
        ("header", |header, _, _| {
            header["model.a"]["data_offsets"] = json!([0, 1u64 << 63]);
        }),
        ("file", |_, _, data| data.extend([0; 8])),
        ("file", |_, _, data| data.truncate(4)),
        ("state.b.row_var", |header, _, _| {
            let object = header.as_object_mut().unwrap();
            let info = object.remove("state.b.row_var").unwrap();
            object.insert("state.b.rows".to_owned(), info);
        }),
        ("state.a.step", |_, optimizer, _| {
            optimizer["groups"][0]["performed"] = json!(6)
        }),
        ("step", |_, _, data| {
            let end = data.len();
            data[end - 4..].copy_from_slice(&6f32.to_le_bytes());
        }),
        ("performed", |_, optimizer, _| {
            optimizer["groups"][0]["performed"] = json!(-1)
        }),
        ("state.a.step", |_, optimizer, _| {
            for group in optimizer["groups"].as_array_mut().unwrap() {
                group["performed"] = json!(u64::MAX);
            }
        }),
        ("lr", |_, optimizer, _| {
            optimizer["groups"][1]["lr"] = json!(-1.0)
        }),
        ("header", |_, optimizer, _| {
            optimizer["groups"][1]["lr"] = Value::Null
        }),
        ("eta", |_, optimizer, _| {
            optimizer["groups"][2]["state"]["eta"] = json!(-1e300)
        }),
        ("eta", |_, optimizer, _| {
            optimizer["groups"][2]["state"] = json!({})
        }),
        ("groups", |_, optimizer, _| optimizer["groups"] = json!([])),
        ("rule", |_, optimizer, _| {
            optimizer["groups"][2]["rule"] = json!("sgd")
        }),
        ("tensors", |_, optimizer, _| {
            optimizer["groups"][2]["tensors"] = json!(["c", "d"])
        }),
        ("version", |header, _, _| {
            header["__metadata__"]["version"] = json!("2")
        }),
        ("format", |header, _, _| {
            header["__metadata__"]["format"] = json!("pt")
        }),
        ("user", |header, _, _| {
            header["__metadata__"]["user"] = json!("[]")
        }),
    ];
    for (named, change) in cases {
        let bytes = forged(&whole, change);
        let refused = load(&mut twin, bytes, named).unwrap_err();
        let text = refused.to_string();
        let expected = match *named {
            "user" => "header",
            "performed" => "header",
            other => other,
        };
        assert!(text.contains(expected), "{named}: {text}");
        assert!(saved(&twin) == before, "{named}");
    }
}

#[test]
fn lengths_that_are_lies_cost_no_memory() {
    let whole = saved(&stepped(5));
    let mut twin = stepped(2);
    for bit in 0..64 {
        for below in [0u64, 1] {
            let mut bytes = whole.clone();
            bytes[..8].copy_from_slice(&((1u64 << bit) - below).to_le_bytes());
            assert!(load(&mut twin, bytes, "length").is_err());
        }
    }
    for length in 0..16 {
        assert!(load(&mut twin, whole[..length].to_vec(), "short").is_err());
    }
    let with_header = |header: &str| {
        let length = (header.len() as u64).to_le_bytes();
        [&length[..], header.as_bytes()].concat()
    };
    for header in [
        "",
        "{}",
        "null",
        "[]",
        "{\"a\":",
        "\u{FEFF}{}",
        "{\"__metadata__\":{}}",
    ] {
        assert!(
            load(&mut twin, with_header(header), header).is_err(),
            "{header}"
        );
    }
    let deep = ["[", "{\"a\":"].map(|open| open.repeat(100_000));
    for header in deep {
        assert!(load(&mut twin, with_header(&header), "deep").is_err());
        let inside = format!("{{\"__metadata__\":{header}");
        assert!(load(&mut twin, with_header(&inside), "deep").is_err());
    }
    let twice = "{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]},".repeat(2);
    assert!(load(&mut twin, with_header(&twice), "twice").is_err());
}

/// Set in processes that save until they are killed: the folder.
const FOLDER: &str = "WGPU_OPTIM_SAVING";

/// A parameter that tells the number of steps, so that a mixture of two states shows.
fn counter() -> Twin {
    let mut layout = Layout::new();
    let group = layout
        .group(Sgd {
            lr: 1.0,
            momentum: 0.0,
            ..Sgd::default()
        })
        .unwrap();
    for index in 0..20 {
        layout.tensor(group, &format!("{index}"), &[500]).unwrap();
    }
    Twin::new(&layout).unwrap()
}

#[test]
fn a_process_that_is_killed_leaves_one_whole_state() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        let path = Path::new(&folder).join("run");
        let mut twin = counter();
        let tensors: Vec<_> = twin.layout().tensors().collect();
        loop {
            for &tensor in &tensors {
                twin.grad_mut(tensor).unwrap().fill(-1.0);
            }
            twin.step().unwrap();
            twin.save(&path, &Save::default()).unwrap();
        }
    }
    let folder = Folder::new("killed");
    let path = folder.0.join("run");
    let mut random = random(3);
    let mut states = std::collections::BTreeSet::new();
    for _ in 0..200 {
        let mut child = Killed(
            Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "a_process_that_is_killed_leaves_one_whole_state"])
                .env(FOLDER, &folder.0)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap(),
        );
        std::thread::sleep(Duration::from_micros(random.random_range(2_000..40_000)));
        child.0.kill().unwrap();
        child.0.wait().unwrap();
        if !path.exists() {
            continue;
        }
        let mut twin = counter();
        twin.load(&Checkpoint::open(&path).unwrap()).unwrap();
        let steps = twin.stats().performed;
        for tensor in twin.layout().tensors() {
            let values = twin.param(tensor).unwrap();
            assert!(
                values.iter().all(|&value| value == steps as f32),
                "{steps}: {values:?}"
            );
        }
        states.insert(steps);
    }
    assert!(states.len() > 5, "{states:?}");
    // At most the last process left something, and the next to save removes it.
    assert!(folder.files() <= 2);
    counter().save(&path, &Save::default()).unwrap();
    assert_eq!(folder.files(), 1);
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
    }
}

#[test]
fn where_nothing_can_be_written_the_old_file_stays() {
    let folder = Folder::new("refused");
    let twin = stepped(3);
    let path = folder.0.join("run");
    twin.save(&path, &Save::default()).unwrap();
    let nowhere = folder.0.join("vanished").join("run");
    let inside_a_file = path.join("run");
    let a_folder = folder.0.join("folder");
    std::fs::create_dir(&a_folder).unwrap();
    for bad in [
        &nowhere,
        &inside_a_file,
        &a_folder,
        Path::new("/"),
        Path::new(""),
    ] {
        let refused = twin.save(bad, &Save::default()).unwrap_err();
        assert!(
            matches!(refused, Error::File { .. }),
            "{}: {refused}",
            bad.display()
        );
        assert!(
            matches!(Checkpoint::open(bad), Err(Error::File { .. })),
            "{}",
            bad.display()
        );
    }
    assert_eq!(folder.files(), 2, "no litter");
    twin.clone()
        .load(&Checkpoint::open(&path).unwrap())
        .unwrap();
    // A relative path without a folder.
    let other = Folder::new("relative");
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_path_without_a_folder"])
        .current_dir(&other.0)
        .env(FOLDER, "")
        .output();
    assert!(child.unwrap().status.success());
    assert_eq!(other.files(), 1);
}

#[test]
fn a_path_without_a_folder() {
    if std::env::var_os(FOLDER).is_some() {
        stepped(1).save("run", &Save::default()).unwrap();
        Checkpoint::open("run").unwrap();
    }
}

/// A file system of 64 kB, which a user may mount in a name space of their own.
#[test]
fn a_full_disk_leaves_the_old_file_and_no_litter() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        let folder = Folder(folder.into());
        let path = folder.0.join("run");
        // Of 40 kB: one fits, and a second one does not fit beside it.
        let mut twin = counter();
        twin.save(&path, &Save::default()).unwrap();
        let tensor = twin.layout().tensors().next().unwrap();
        twin.param_mut(tensor).unwrap().fill(1.0);
        let refused = twin.save(&path, &Save::default()).unwrap_err();
        assert!(refused.to_string().contains("No space left"), "{refused}");
        assert_eq!(folder.files(), 1, "no litter");
        let mut other = counter();
        other.load(&Checkpoint::open(&path).unwrap()).unwrap();
        let tensor = other.layout().tensors().next().unwrap();
        assert_eq!(other.param(tensor).unwrap()[0], 0.0);
        return;
    }
    let folder = Folder::new("full");
    let script = "mount -t tmpfs -o size=64k none \"$0\" && \"$1\" --exact \
                  a_full_disk_leaves_the_old_file_and_no_litter";
    let run = Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c", script])
        .args([&folder.0, &std::env::current_exe().unwrap()])
        .env(FOLDER, &folder.0)
        .output();
    let may_mount = Command::new("unshare")
        .args(["--map-root-user", "--mount", "mount", "-t", "tmpfs", "none"])
        .arg(&folder.0)
        .status();
    if !may_mount.is_ok_and(|status| status.success()) {
        println!("not run: this user cannot mount a file system");
        return;
    }
    let run = run.unwrap();
    assert!(run.status.success(), "{run:?}");
}

/// The most memory that this process had since `forget_most`, in bytes.
#[cfg(target_os = "linux")]
fn most_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<u64>()
        .unwrap()
        * 1024
}

#[cfg(target_os = "linux")]
fn forget_most() {
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
}

/// On a software driver, the copy on the device is this process's memory too. Beyond it, 400 MB of
/// state take a few slices.
#[cfg(target_os = "linux")]
#[test]
fn saving_takes_slices_of_the_host_s_memory() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        let folder = Folder::new("large");
        let run = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "saving_takes_slices_of_the_host_s_memory",
                "--nocapture",
            ])
            .env(FOLDER, &folder.0)
            .output()
            .unwrap();
        assert!(run.status.success(), "{run:?}");
        return;
    };
    let mut layout = Layout::new();
    let group = layout.group(AdamW::default()).unwrap();
    for index in 0..5 {
        layout
            .tensor(group, &format!("{index}"), &[10_000_000])
            .unwrap();
    }
    let wgpu_optim::Gpu { device, queue, .. } = gpu();
    let mut optimizer = wgpu_optim::Optimizer::new(device, &layout, Default::default()).unwrap();
    let path = Path::new(&folder).join("run");
    let save = Save {
        params: false,
        ..Save::default()
    };
    let mut encoder = device.create_command_encoder(&Default::default());
    optimizer.step(&mut encoder).unwrap();
    let saving = optimizer.save(&mut encoder, &save).unwrap();
    queue.submit([encoder.finish()]);
    let idle = wgpu_optim::wgpu::PollType::wait_indefinitely();
    device.poll(idle.clone()).unwrap();
    forget_most();
    let before = most_memory();
    saving.write_blocking(queue, &path).unwrap();
    let saving = most_memory() - before;
    assert!(path.metadata().unwrap().len() > 400_000_000);
    assert!(saving < 64 << 20, "{saving} bytes to save");

    device.poll(idle).unwrap();
    forget_most();
    let before = most_memory();
    optimizer
        .load(queue, &Checkpoint::open(&path).unwrap())
        .unwrap();
    let loading = most_memory() - before;
    // Loading brings everything to the device before any of it counts.
    assert!(loading < (400 + 64) << 20, "{loading} bytes to load");
    println!("{saving} bytes to save, {loading} to load");
}
