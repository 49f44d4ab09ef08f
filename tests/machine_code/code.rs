//! Machine code, and what in it keeps a kernel from streaming through memory.

use std::collections::BTreeMap;

/// The most vector registers: with these a SIMD of RDNA2 holds 8 waves of 64 lanes and one of GCN 4, which
/// hide one another's waits for memory.
pub const MOST_VGPRS: u64 = 64;

/// The most where a thread has 16 elements at once, and so four times the loads to wait for: Prodigy's, with all
/// in fewer bits.
pub const MOST_VGPRS_IN_BLOCKS: u64 = 112;

/// What a compiler made of a shader.
pub struct Code {
    /// The driver's own, by name.
    pub statistics: BTreeMap<String, u64>,
    instructions: Vec<String>,
}

/// Accesses to buffers by vector instructions: each lane's own.
#[derive(Debug, Clone, Copy)]
pub struct Traffic {
    /// Loads of 128 bits.
    pub loads: usize,
    /// Stores of 128 bits.
    pub stores: usize,
    /// Loads of 32 or 64 bits, such as what is kept of whole tensors.
    pub lookups: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum Access {
    Load(u32),
    Store(u32),
    /// Of another width or kind.
    Other,
}

impl Code {
    /// None if this is no disassembly.
    pub fn read(statistics: BTreeMap<String, u64>, disassembly: &str) -> Option<Self> {
        // A label ends with a colon; after a semicolon is the encoding.
        let lines = disassembly
            .lines()
            .filter_map(|line| line.split(';').next());
        let lines = lines.map(str::trim);
        let instructions = lines.filter(|line| !line.is_empty() && !line.ends_with(':'));
        let instructions: Vec<_> = instructions.map(str::to_owned).collect();
        let is_whole = instructions.iter().any(|line| line == "s_endpgm");
        is_whole.then_some(Self {
            statistics,
            instructions,
        })
    }

    pub fn traffic(&self) -> Traffic {
        let accesses: Vec<_> = self
            .instructions
            .iter()
            .filter_map(|line| access(line))
            .collect();
        let count = |wanted| accesses.iter().filter(|access| **access == wanted).count();
        Traffic {
            loads: count(Access::Load(128)),
            stores: count(Access::Store(128)),
            lookups: count(Access::Load(32)) + count(Access::Load(64)),
        }
    }

    /// Instructions that calculate in every lane.
    pub fn vector_instructions(&self) -> usize {
        let names = self.instructions.iter().map(|line| name(line));
        names.filter(|name| name.starts_with("v_")).count()
    }

    /// Whatever keeps this from being a kernel that moves what is expected and waits for nothing else.
    pub fn complaints(&self, expected: Traffic) -> Vec<String> {
        let mut complaints = Vec::new();
        let mut has_stored = false;
        for line in &self.instructions {
            let access = access(line);
            // Uniforms, which all lanes share, may come later: they are in a cache of their own.
            let loads = matches!(access, Some(Access::Load(_)));
            has_stored |= matches!(access, Some(Access::Store(_)));
            if loads && has_stored {
                complaints.push(format!("loads after the first store: {line}"));
            }
            if access == Some(Access::Other) {
                complaints.push(format!("moves another width: {line}"));
            }
            if branches(line) {
                complaints.push(format!("branches: {line}"));
            }
        }
        let traffic = self.traffic();
        let streams = (traffic.loads, traffic.stores) == (expected.loads, expected.stores);
        if !streams || traffic.lookups > expected.lookups {
            complaints.push(format!("moves {traffic:?}; expected {expected:?}"));
        }
        complaints.extend(self.register_complaints(MOST_VGPRS));
        complaints
    }

    /// Too many registers, and what did not fit into them.
    pub fn register_complaints(&self, most_vgprs: u64) -> Vec<String> {
        let mut complaints = Vec::new();
        for (name, most) in [
            ("VGPRs", most_vgprs),
            ("Spilled VGPRs", 0),
            ("Spilled SGPRs", 0),
            ("Scratch size", 0),
        ] {
            match self.statistics.get(name) {
                Some(found) if *found <= most => {}
                found => complaints.push(format!("{name} {found:?}; expected at most {most}")),
            }
        }
        complaints
    }
}

fn name(line: &str) -> &str {
    line.split_whitespace().next().unwrap_or_default()
}

/// What a vector instruction does to memory.
fn access(line: &str) -> Option<Access> {
    let (memory, operation) = name(line).split_once('_')?;
    match memory {
        "buffer" | "tbuffer" | "global" | "flat" | "scratch" | "image" | "ds" => {}
        _ => return None,
    }
    Some(match operation {
        "load_dwordx4" | "load_b128" => Access::Load(128),
        "load_dword" | "load_b32" => Access::Load(32),
        "load_dwordx2" | "load_b64" => Access::Load(64),
        "store_dwordx4" | "store_b128" => Access::Store(128),
        _ => Access::Other,
    })
}

/// A jump, or lanes that sit out what others do.
fn branches(line: &str) -> bool {
    let name = name(line);
    let jumps = ["s_branch", "s_cbranch", "s_call", "s_setpc", "s_swappc"];
    let masks = name.contains("saveexec") || name.starts_with("v_cmpx");
    let operands = line[name.len()..].trim_start();
    jumps.iter().any(|jump| name.starts_with(jump)) || masks || operands.starts_with("exec")
}
