//! RADV, Mesa's driver for AMD cards. Its null device compiles for a card that is not present.

use std::{collections::BTreeMap, env, ffi::c_char, path::PathBuf};

use ash::{ext::robustness2, khr::pipeline_executable_properties as executable, vk};

use crate::{
    code::Code,
    spirv::{self, Spirv},
};

/// A device of one family of cards, there until the program ends.
pub struct Radv {
    /// As in "Mesa 22.3.6".
    pub version: String,
    device: ash::Device,
    executable: executable::Device,
    /// The library with the code behind these.
    _entry: ash::Entry,
}

/// Where drivers announce themselves to the Vulkan loader.
pub fn driver_folders() -> Vec<PathBuf> {
    let named = env::var_os("VK_DRIVER_FILES").unwrap_or_default();
    let named = env::split_paths(&named).filter_map(|path| Some(path.parent()?.to_owned()));
    let usual = [
        "/usr/local/share/vulkan/icd.d",
        "/etc/vulkan/icd.d",
        "/usr/share/vulkan/icd.d",
        "/run/opengl-driver/share/vulkan/icd.d",
    ];
    let home = env::home_dir().map(|home| home.join(".local/share/vulkan/icd.d"));
    let usual = usual.map(PathBuf::from);
    named.chain(home).chain(usual).collect()
}

/// RADV's file in the first of `folders` that has it.
pub fn driver_file(folders: &[PathBuf]) -> Result<PathBuf, String> {
    let of_this_machine = format!("radeon_icd.{}.json", env::consts::ARCH);
    let names = [&of_this_machine, "radeon_icd.json"];
    let mut files = folders
        .iter()
        .flat_map(|folder| names.map(|name| folder.join(name)));
    files
        .find(|file| file.exists())
        .ok_or_else(|| format!("no {} among Vulkan's drivers", names.join(" or ")))
}

impl Radv {
    /// Opens the null device of a family, by the name of RADV_FORCE_FAMILY; else says why not.
    ///
    /// # Safety
    /// No other thread may run: this changes the environment.
    pub unsafe fn open(family: &str) -> Result<Self, String> {
        let driver = driver_file(&driver_folders())?;
        // SAFETY: the caller's.
        unsafe {
            // The second name is for loaders before 1.3.207.
            for name in ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"] {
                env::set_var(name, &driver);
            }
            env::set_var("RADV_FORCE_FAMILY", family);
            // A developer's experiments are not what users run.
            for name in ["RADV_DEBUG", "RADV_PERFTEST", "ACO_DEBUG"] {
                env::remove_var(name);
            }
            let radv = Self::open_as_told(family)?;
            // Some are built without a disassembler.
            radv.compile(&spirv::compile("@compute @workgroup_size(1) fn main() {}"))?;
            Ok(radv)
        }
    }

    /// # Safety
    /// As Vulkan is: handles and pointers are of what is made here and still there.
    unsafe fn open_as_told(family: &str) -> Result<Self, String> {
        let vulkan = |error: vk::Result| format!("RADV for {family}: {error}");
        unsafe {
            let entry = ash::Entry::load().map_err(|error| format!("no Vulkan: {error}"))?;
            let app = vk::ApplicationInfo::default().api_version(vk::API_VERSION_1_3);
            let create = vk::InstanceCreateInfo::default().application_info(&app);
            let instance = entry.create_instance(&create, None).map_err(vulkan)?;

            let mut driver = vk::PhysicalDeviceDriverProperties::default();
            let mut found = Vec::new();
            let mut card = None;
            for candidate in instance.enumerate_physical_devices().map_err(vulkan)? {
                let mut properties =
                    vk::PhysicalDeviceProperties2::default().push_next(&mut driver);
                instance.get_physical_device_properties2(candidate, &mut properties);
                let name = text(&properties.properties.device_name);
                if name.to_lowercase().contains(family) {
                    card = Some(candidate);
                    break;
                }
                found.push(name);
            }
            let Some(card) = card else {
                return Err(format!("RADV has no {family}, but {found:?}"));
            };

            // What wgpu-hal turns on wherever there is it, as far as it changes machine code.
            let features = vk::PhysicalDeviceFeatures::default().robust_buffer_access(true);
            let mut robustness = vk::PhysicalDeviceRobustness2FeaturesEXT::default()
                .robust_buffer_access2(true)
                .robust_image_access2(true);
            let mut vulkan_1_3 = vk::PhysicalDeviceVulkan13Features::default()
                .robust_image_access(true)
                .subgroup_size_control(true)
                .shader_zero_initialize_workgroup_memory(true);
            let mut report = vk::PhysicalDevicePipelineExecutablePropertiesFeaturesKHR::default()
                .pipeline_executable_info(true);
            let queue = [vk::DeviceQueueCreateInfo::default().queue_priorities(&[1.0])];
            let extensions = [robustness2::NAME.as_ptr(), executable::NAME.as_ptr()];
            let create = vk::DeviceCreateInfo::default()
                .queue_create_infos(&queue)
                .enabled_extension_names(&extensions)
                .enabled_features(&features)
                .push_next(&mut robustness)
                .push_next(&mut vulkan_1_3)
                .push_next(&mut report);
            let device = instance.create_device(card, &create, None);
            let device = device.map_err(vulkan)?;
            Ok(Self {
                version: text(&driver.driver_info),
                executable: executable::Device::new(&instance, &device),
                device,
                _entry: entry,
            })
        }
    }

    /// The machine code of a compute shader.
    pub fn compile(&self, spirv: &Spirv) -> Result<Code, String> {
        // SAFETY: naga wrote valid SPIR-V.
        let compiled = unsafe { self.try_compile(spirv) };
        let (statistics, disassembly) = compiled.map_err(|error| format!("RADV: {error}"))?;
        Code::read(statistics, &disassembly)
            .ok_or_else(|| format!("RADV gives no disassembly: {disassembly:?}"))
    }

    /// # Safety
    /// The SPIR-V is valid.
    unsafe fn try_compile(&self, spirv: &Spirv) -> Result<Report, vk::Result> {
        let bindings: Vec<_> = spirv
            .bindings
            .iter()
            .zip(0..)
            .map(|(&ty, binding)| {
                vk::DescriptorSetLayoutBinding::default()
                    .binding(binding)
                    .descriptor_count(1)
                    .descriptor_type(ty)
                    .stage_flags(vk::ShaderStageFlags::COMPUTE)
            })
            .collect();
        let device = &self.device;
        unsafe {
            let set = vk::DescriptorSetLayoutCreateInfo::default().bindings(&bindings);
            let sets = [device.create_descriptor_set_layout(&set, None)?];
            let layout = vk::PipelineLayoutCreateInfo::default().set_layouts(&sets);
            let layout = device.create_pipeline_layout(&layout, None)?;
            let module = vk::ShaderModuleCreateInfo::default().code(&spirv.words);
            let module = device.create_shader_module(&module, None)?;
            let stage = vk::PipelineShaderStageCreateInfo::default()
                .stage(vk::ShaderStageFlags::COMPUTE)
                .module(module)
                .name(&spirv.entry_point);
            let flags = vk::PipelineCreateFlags::CAPTURE_STATISTICS_KHR
                | vk::PipelineCreateFlags::CAPTURE_INTERNAL_REPRESENTATIONS_KHR;
            let pipeline = vk::ComputePipelineCreateInfo::default()
                .stage(stage)
                .layout(layout)
                .flags(flags);
            let made =
                device.create_compute_pipelines(vk::PipelineCache::null(), &[pipeline], None);
            let pipeline = made.map_err(|(_, error)| error)?[0];
            let compiled = self.report(pipeline);
            device.destroy_pipeline(pipeline, None);
            device.destroy_shader_module(module, None);
            device.destroy_pipeline_layout(layout, None);
            device.destroy_descriptor_set_layout(sets[0], None);
            compiled
        }
    }

    /// # Safety
    /// The pipeline is one of this device's.
    unsafe fn report(&self, pipeline: vk::Pipeline) -> Result<Report, vk::Result> {
        let info = vk::PipelineExecutableInfoKHR::default().pipeline(pipeline);
        unsafe {
            let statistics = self.executable.get_pipeline_executable_statistics(&info)?;
            let is_count = vk::PipelineExecutableStatisticFormatKHR::UINT64;
            let statistics = statistics.iter().filter(|found| found.format == is_count);
            let statistics = statistics.map(|found| (text(&found.name), found.value.u64));

            // Asked for three times: how many, how long, the texts.
            let get = self
                .executable
                .fp()
                .get_pipeline_executable_internal_representations_khr;
            let device = self.device.handle();
            let mut count = 0;
            get(device, &info, &mut count, std::ptr::null_mut()).result()?;
            let empty = vk::PipelineExecutableInternalRepresentationKHR::default();
            let mut forms = vec![empty; count as usize];
            get(device, &info, &mut count, forms.as_mut_ptr()).result()?;
            let mut texts: Vec<_> = forms.iter().map(|form| vec![0; form.data_size]).collect();
            for (form, text) in forms.iter_mut().zip(&mut texts) {
                form.p_data = text.as_mut_ptr().cast();
            }
            get(device, &info, &mut count, forms.as_mut_ptr()).result()?;
            let mut forms = forms.iter().zip(&texts);
            let assembly = forms.find(|(form, _)| text(&form.name) == "Assembly");
            let assembly = assembly.map(|(_, bytes)| String::from_utf8_lossy(bytes));
            let assembly = assembly.unwrap_or_default();
            Ok((
                statistics.collect(),
                assembly.trim_end_matches('\0').to_owned(),
            ))
        }
    }
}

/// Statistics by name, and a disassembly.
type Report = (BTreeMap<String, u64>, String);

/// A text in one of Vulkan's arrays, which end it with a zero.
fn text(array: &[c_char]) -> String {
    let bytes = array.iter().take_while(|&&byte| byte != 0);
    let bytes: Vec<_> = bytes.map(|&byte| byte as u8).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}
