//! WGSL to SPIR-V with the options of wgpu-hal 30 for a device like RADV's: `device_from_raw` in
//! `src/vulkan/adapter.rs`, and for each pipeline `compile_stage` in `src/vulkan/device.rs`.

use std::{collections::BTreeMap, ffi::CString};

use ash::vk::DescriptorType;
use naga::{
    AddressSpace, ResourceBinding, ShaderStage,
    back::spv::{
        self, BindingInfo, Capability, PipelineOptions, WriterFlags,
        ZeroInitializeWorkgroupMemoryMode,
    },
    proc::{BoundsCheckPolicies, BoundsCheckPolicy::*},
    valid::{Capabilities, ValidationFlags, Validator},
};

/// A shader and what its bindings are, from binding 0 on.
pub struct Spirv {
    pub entry_point: CString,
    pub words: Vec<u32>,
    pub bindings: Vec<DescriptorType>,
}

/// The entry point `main` of a complete shader.
pub fn compile(wgsl: &str) -> Spirv {
    compile_entry_point(wgsl, "main")
}

/// An entry point of a complete shader.
pub fn compile_entry_point(wgsl: &str, name: &str) -> Spirv {
    let module = naga::front::wgsl::parse_str(wgsl).unwrap();
    let info = Validator::new(ValidationFlags::all(), Capabilities::empty())
        .validate(&module)
        .unwrap();
    // wgpu-hal's workaround SEPARATE_ENTRY_POINTS, on everywhere: a module has one entry point.
    let entry_point = (ShaderStage::Compute, name);
    let (module, info) = naga::back::pipeline_constants::process_overrides(
        &module,
        &info,
        Some(entry_point),
        &Default::default(),
    )
    .unwrap();

    // A pipeline without an explicit layout, as the crate makes them, has the bindings that the entry
    // point uses; wgpu-hal's `create_bind_group_layout` numbers them without gaps.
    let mut used = BTreeMap::new();
    for (handle, global) in module.global_variables.iter() {
        let is_used = !info.get_entry_point(0)[handle].is_empty();
        if let Some(binding) = global.binding.filter(|_| is_used) {
            let ty = match global.space {
                AddressSpace::Uniform => DescriptorType::UNIFORM_BUFFER,
                AddressSpace::Storage { .. } => DescriptorType::STORAGE_BUFFER,
                other => panic!("a binding in {other:?}"),
            };
            used.insert((binding.group, binding.binding), ty);
        }
    }
    let mut binding_map = spv::BindingMap::default();
    for (&(group, binding), dense) in used.keys().zip(0..) {
        assert_eq!(group, 0);
        let info = BindingInfo {
            descriptor_set: group,
            binding: dense,
            binding_array_size: None,
        };
        binding_map.insert(ResourceBinding { group, binding }, info);
    }

    let options = spv::Options {
        // Of a device of Vulkan 1.3.
        lang_version: (1, 6),
        // Those of a release build; a debug build adds names, which no machine code has.
        flags: WriterFlags::LABEL_VARYINGS | WriterFlags::FORCE_POINT_SIZE,
        // What is there on any device. The crate asks for no optional feature.
        capabilities: Some(
            [
                Capability::Shader,
                Capability::Matrix,
                Capability::Sampled1D,
                Capability::Image1D,
                Capability::ImageQuery,
                Capability::DerivativeControl,
                Capability::StorageImageExtendedFormats,
            ]
            .into_iter()
            .collect(),
        ),
        bounds_check_policies: BoundsCheckPolicies {
            index: Restrict,
            // With robustBufferAccess2 and robustImageAccess2 the device checks.
            buffer: Unchecked,
            image_load: Unchecked,
            binding_array: Unchecked,
        },
        // A feature of Vulkan 1.3.
        zero_initialize_workgroup_memory: ZeroInitializeWorkgroupMemoryMode::Native,
        use_storage_input_output_16: false,
        fake_missing_bindings: false,
        binding_map,
        debug_info: None,
        // `ShaderRuntimeChecks::checked`, as safe code has it.
        force_loop_bounding: true,
        emit_int_div_checks: true,
        // The rest is about rays and meshes.
        ..Default::default()
    };
    let pipeline = PipelineOptions {
        entry_point: entry_point.1.to_owned(),
        shader_stage: entry_point.0,
    };
    Spirv {
        entry_point: CString::new(name).unwrap(),
        words: spv::write_vec(&module, &info, &options, Some(&pipeline)).unwrap(),
        bindings: used.into_values().collect(),
    }
}
