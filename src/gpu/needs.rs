//! What a shader needs of a device, read from its text.

use wgpu::naga::{
    AddressSpace, Module, ShaderStage, TypeInner,
    front::wgsl,
    valid::{Capabilities, ValidationFlags, Validator},
};

use crate::Error;

/// What one entry point of a shader needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ShaderNeeds {
    storage_buffers: u64,
    uniform_buffers: u64,
    /// The highest binding and one.
    bindings: u64,
    /// Bytes of the largest uniform.
    uniform_bytes: u64,
    workgroup_size: [u32; 3],
    /// Bytes that the threads of a workgroup share.
    workgroup_bytes: u64,
}

impl ShaderNeeds {
    /// `None` if the shader does not compile. wgpu will say why.
    pub fn of(text: &str, entry_point: &str) -> Option<Self> {
        let module = wgsl::parse_str(text).ok()?;
        // wgpu checks the shader. This asks only which globals the entry point uses.
        let mut validator = Validator::new(ValidationFlags::empty(), Capabilities::all());
        let info = validator.validate(&module).ok()?;
        let is_entry = |entry: &wgpu::naga::EntryPoint| {
            entry.name == entry_point && entry.stage == ShaderStage::Compute
        };
        let index = module.entry_points.iter().position(is_entry)?;
        let uses = info.get_entry_point(index);
        let mut needs = Self {
            storage_buffers: 0,
            uniform_buffers: 0,
            bindings: 0,
            uniform_bytes: 0,
            workgroup_size: module.entry_points[index].workgroup_size,
            workgroup_bytes: 0,
        };
        for (handle, global) in module.global_variables.iter() {
            if uses[handle].is_empty() {
                continue;
            }
            let bytes = size_of_type(&module, &module.types[global.ty].inner);
            match global.space {
                AddressSpace::Storage { .. } => needs.storage_buffers += 1,
                AddressSpace::Uniform => {
                    needs.uniform_buffers += 1;
                    needs.uniform_bytes = needs.uniform_bytes.max(bytes);
                }
                // WebGPU counts each variable in units of 16 bytes.
                AddressSpace::WorkGroup => needs.workgroup_bytes += bytes.next_multiple_of(16),
                _ => {}
            }
            let end = global.binding.as_ref().map_or(0, |place| place.binding + 1);
            needs.bindings = needs.bindings.max(u64::from(end));
        }
        Some(needs)
    }

    /// # Errors
    /// [`Error::Limit`] if a device with `limits` has too little of something.
    pub fn check(&self, what: &str, limits: &wgpu::Limits) -> Result<(), Error> {
        let [x, y, z] = self.workgroup_size.map(u64::from);
        let needs = [
            (
                self.storage_buffers,
                "max_storage_buffers_per_shader_stage",
                limits.max_storage_buffers_per_shader_stage,
            ),
            (
                self.uniform_buffers,
                "max_uniform_buffers_per_shader_stage",
                limits.max_uniform_buffers_per_shader_stage,
            ),
            (
                self.bindings,
                "max_bindings_per_bind_group",
                limits.max_bindings_per_bind_group,
            ),
            (
                self.storage_buffers + self.uniform_buffers,
                "max_buffers_and_acceleration_structures_per_shader_stage",
                limits.max_buffers_and_acceleration_structures_per_shader_stage,
            ),
            (1, "max_bind_groups", limits.max_bind_groups),
            (
                x * y * z,
                "max_compute_invocations_per_workgroup",
                limits.max_compute_invocations_per_workgroup,
            ),
            (
                x,
                "max_compute_workgroup_size_x",
                limits.max_compute_workgroup_size_x,
            ),
            (
                y,
                "max_compute_workgroup_size_y",
                limits.max_compute_workgroup_size_y,
            ),
            (
                z,
                "max_compute_workgroup_size_z",
                limits.max_compute_workgroup_size_z,
            ),
            (
                self.workgroup_bytes,
                "max_compute_workgroup_storage_size",
                limits.max_compute_workgroup_storage_size,
            ),
        ];
        let needs = needs.map(|(needed, limit, allowed)| (needed, limit, u64::from(allowed)));
        let uniform = limits.max_uniform_buffer_binding_size;
        let uniform = (
            self.uniform_bytes,
            "max_uniform_buffer_binding_size",
            uniform,
        );
        let mut needs = needs.into_iter().chain([uniform]);
        match needs.find(|(needed, _, allowed)| needed > allowed) {
            None => Ok(()),
            Some((needed, limit, allowed)) => Err(Error::Limit {
                what: what.to_owned(),
                needed,
                limit,
                allowed,
            }),
        }
    }
}

fn size_of_type(module: &Module, of: &TypeInner) -> u64 {
    u64::from(of.size(module.to_ctx()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "
        struct Numbers { a: vec4<f32>, b: f32 }
        @group(0) @binding(0) var<uniform> numbers: Numbers;
        @group(0) @binding(4) var<storage, read_write> values: array<f32>;
        @group(0) @binding(9) var<storage> unused: array<f32>;
        var<workgroup> sums: array<f32, 33>;
        var<workgroup> flag: u32;
        @compute @workgroup_size(8, 4)
        fn main(@builtin(local_invocation_index) lane: u32) {
            flag = 1u;
            sums[lane] = numbers.b;
            values[lane] = sums[0];
        }
        @compute @workgroup_size(1)
        fn other() { values[0] = 0.0; }
    ";

    #[test]
    fn an_entry_point_needs_what_it_uses() {
        let needs = ShaderNeeds {
            storage_buffers: 1,
            uniform_buffers: 1,
            bindings: 5,
            uniform_bytes: 32,
            workgroup_size: [8, 4, 1],
            // 132 bytes and 4, in units of 16.
            workgroup_bytes: 160,
        };
        assert_eq!(ShaderNeeds::of(TEXT, "main"), Some(needs));
        let other = ShaderNeeds::of(TEXT, "other").unwrap();
        assert_eq!((other.uniform_buffers, other.workgroup_bytes), (0, 0));
        assert_eq!(ShaderNeeds::of(TEXT, "none"), None);
        assert_eq!(ShaderNeeds::of("no WGSL", "main"), None);
    }

    #[test]
    fn each_limit_is_compared_by_itself() {
        let needs = ShaderNeeds::of(TEXT, "main").unwrap();
        let defaults = wgpu::Limits::default;
        assert_eq!(needs.check("it", &defaults()), Ok(()));
        let refusal = |change: fn(&mut wgpu::Limits)| {
            let mut limits = defaults();
            change(&mut limits);
            needs.check("it", &limits).unwrap_err()
        };
        let expected = |needed, limit, allowed| Error::Limit {
            what: "it".to_owned(),
            needed,
            limit,
            allowed,
        };
        assert_eq!(
            refusal(|limits| limits.max_compute_workgroup_storage_size = 159),
            expected(160, "max_compute_workgroup_storage_size", 159)
        );
        assert_eq!(
            refusal(|limits| limits.max_compute_invocations_per_workgroup = 31),
            expected(32, "max_compute_invocations_per_workgroup", 31)
        );
        assert_eq!(
            refusal(|limits| limits.max_compute_workgroup_size_y = 3),
            expected(4, "max_compute_workgroup_size_y", 3)
        );
        assert_eq!(
            refusal(|limits| limits.max_bindings_per_bind_group = 4),
            expected(5, "max_bindings_per_bind_group", 4)
        );
        assert_eq!(
            refusal(|limits| limits.max_uniform_buffer_binding_size = 16),
            expected(32, "max_uniform_buffer_binding_size", 16)
        );
    }
}
