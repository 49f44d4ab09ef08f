//! Every rule's update as machine code, for cards that need not be present. Mesa's compiler for AMD
//! compiles the SPIR-V that wgpu would give it. The test checks that nothing in the code keeps a
//! kernel from the speed of memory. statistics.txt shows what a change does to the code.

mod code;
mod faults;
mod passes;
mod radv;
mod spirv;
mod statistics;

#[path = "../../examples/verify/variant.rs"]
mod variant;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use wgpu_optim::{Extent, Format, Rule, Slot, rules, update_shader, update_shader_in};

use code::{MOST_VGPRS, MOST_VGPRS_IN_BLOCKS, Traffic};
use radv::Radv;
use variant::Variant;

/// Of RDNA2 and of GCN 5, by the names of RADV_FORCE_FAMILY.
const FAMILIES: [&str; 2] = ["navi21", "vega10"];

/// Slots that an update replaces without a look at them, and why.
const REPLACED_UNSEEN: &[(&str, &str)] = &[
    // The sums of this step have seen the gradient before, whose place this one takes.
    ("gradient_agreement", "prev_grad"),
];

fn main() {
    // SAFETY: the tests, and their threads, come after this.
    let devices = FAMILIES.map(|family| unsafe { Radv::open(family) });
    let devices: &'static [Device] = Vec::from(devices).leak();
    let mut trials = vec![
        Trial::test(
            "each_fault_in_machine_code_is_complained_of",
            faults::of_machine_code,
        ),
        Trial::test("a_driver_is_found_where_its_file_is", faults::of_folders),
        Trial::ignorable_test("statistics_are_those_of_the_table", || {
            statistics::check(devices)
        }),
    ];
    for (family, device) in FAMILIES.iter().zip(devices) {
        let title = format!("each_fault_in_a_shader_is_complained_of_on_{family}");
        trials.push(test_on(device, title, faults::of_shaders));
        let title = format!("passes_before_an_update_keep_to_registers_on_{family}");
        trials.push(test_on(device, title, passes::keep_to_registers));
        let title = format!("updates_in_formats_keep_to_registers_on_{family}");
        trials.push(test_on(device, title, each_format_keeps_to_registers));
        for name in rules::names() {
            let title = format!("{name}_is_a_streaming_kernel_on_{family}");
            trials.push(test_on(device, title, |radv| {
                each_variant_streams(radv, name)
            }));
        }
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

/// A device, or why there is none.
type Device = Result<Radv, String>;

/// A test that counts as not run, and says why, where there is no device.
fn test_on(
    device: &'static Device,
    title: String,
    test: impl FnOnce(&Radv) -> Result<(), Failed> + Send + 'static,
) -> Trial {
    Trial::ignorable_test(title, move || match device {
        Ok(radv) => test(radv).map(|()| Completion::Completed),
        Err(reason) => Ok(Completion::ignored_with(reason)),
    })
}

fn each_variant_streams(radv: &Radv, name: &'static str) -> Result<(), Failed> {
    let mut seen = Vec::new();
    let mut complaints = Vec::new();
    for variant in Variant::of_rule(name)? {
        let rule = variant.build()?;
        let text = update_shader(&*rule);
        // Flags change the text, numbers do not.
        if !seen.contains(&text) {
            let code = radv.compile(&spirv::compile(&text))?;
            for complaint in code.complaints(expected(&*rule)) {
                complaints.push(format!("{}: {complaint}", variant.label()));
            }
            seen.push(text);
        }
    }
    match complaints.is_empty() {
        true => Ok(()),
        false => Err(complaints.join("\n").into()),
    }
}

/// A block of eight bits is 16 elements to a thread, which take more registers than four.
fn each_format_keeps_to_registers(radv: &Radv) -> Result<(), Failed> {
    let mut complaints = Vec::new();
    for name in rules::names() {
        let rule = rules::by_name(name)?;
        for (title, formats) in statistics::in_formats() {
            let code = radv.compile(&spirv::compile(&update_shader_in(&*rule, formats)))?;
            let most = match formats.state {
                Format::Int8 => MOST_VGPRS_IN_BLOCKS,
                _ => MOST_VGPRS,
            };
            let found = code.register_complaints(most).into_iter();
            complaints.extend(found.map(|complaint| format!("{name}, {title}: {complaint}")));
        }
    }
    match complaints.is_empty() {
        true => Ok(()),
        false => Err(complaints.join("\n").into()),
    }
}

/// What the update of `rule` has to move, and no more.
fn expected(rule: &dyn Rule) -> Traffic {
    let stages = rule.stages();
    let slots = rule.slots();
    let of = |extent| {
        let slots = slots.iter().filter(|slot| slot.used);
        slots.filter(move |slot| slot.extent == extent)
    };
    // After a stage of matrices the update looks at what that names, not at the gradient, and changes
    // no slot.
    let is_read = |slot: &&Slot| match stages.matrix {
        Some(matrix) => matrix.reads.contains(&slot.name),
        None => !REPLACED_UNSEEN.contains(&(rule.name(), slot.name)),
    };
    let is_written = |slot: &&Slot| stages.matrix.is_none() && !slot.input;
    let params = 1;
    let grads = usize::from(stages.matrix.is_none());

    let of_tensors = of(Extent::Tensor).filter(is_read).count();
    // A quad and two words say where the rows and columns of a tensor are; then comes one of each for
    // four elements.
    let [of_tables, of_lines] = stages.lines.map_or([0, 0], |_| [1, 1 + 2 * 4]);
    // First comes where the tensor's row is in the table.
    let row = usize::from(of_tensors + of_lines > 0);
    Traffic {
        loads: params + grads + of_tables + of(Extent::Element).filter(is_read).count(),
        stores: params + of(Extent::Element).filter(is_written).count(),
        lookups: row + of_tensors + of_lines,
    }
}
