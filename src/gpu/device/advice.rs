//! What to do if no adapter fits.

use crate::GpuOptions;

#[cfg(not(target_family = "wasm"))]
pub(super) fn advice(_: &GpuOptions, _is_another_there: bool) -> &'static str {
    "A software Vulkan driver will do (Debian, Ubuntu: apt-get install mesa-vulkan-drivers)"
}

#[cfg(target_family = "wasm")]
pub(super) fn advice(options: &GpuOptions, is_another_there: bool) -> &'static str {
    use js_sys::{Reflect, global};

    let of = |object: &js_sys::wasm_bindgen::JsValue, name: &str| {
        Reflect::get(object, &name.into()).unwrap_or_default()
    };
    let global = global();
    // A worker has these two as well as a page.
    let page = Page {
        is_secure: of(&global, "isSecureContext").is_truthy(),
        has_webgpu: of(&of(&global, "navigator"), "gpu").is_truthy(),
    };
    page.advice(options, is_another_there)
}

/// What a browser says of the page that this runs in.
#[cfg(any(test, target_family = "wasm"))]
struct Page {
    is_secure: bool,
    has_webgpu: bool,
}

#[cfg(any(test, target_family = "wasm"))]
impl Page {
    fn advice(&self, options: &GpuOptions, is_another_there: bool) -> &'static str {
        match self {
            // Browsers hide WebGPU from such a page.
            Page {
                is_secure: false, ..
            } => {
                "The page is not in a secure context, so the browser gives it no WebGPU: load it by \
                 https, or from localhost"
            }
            Page {
                has_webgpu: false, ..
            } => {
                "This browser has no WebGPU (navigator.gpu is missing): use a newer one, or turn \
                 WebGPU on in its settings"
            }
            _ if is_another_there && options.name.is_some() => {
                "Browsers hide the names of adapters, so none can be picked by name: leave \
                 GpuOptions::name out"
            }
            _ if is_another_there => {
                "The browser picks the adapter itself: leave GpuOptions::fallback out"
            }
            _ => {
                "The browser has WebGPU but refused an adapter: its graphics driver may be blocked, or \
                 hardware acceleration off; chrome://gpu or about:support says why"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_for_no_adapter_in_a_browser_has_its_own_advice() {
        let page = |is_secure, has_webgpu| Page {
            is_secure,
            has_webgpu,
        };
        let (plain, named) = (
            GpuOptions::default(),
            GpuOptions {
                name: Some("llvmpipe".to_owned()),
                ..Default::default()
            },
        );
        for (page, options, is_another_there, word) in [
            (page(false, false), &plain, false, "https"),
            (page(true, false), &plain, false, "navigator.gpu"),
            (page(true, true), &plain, false, "refused"),
            (page(true, true), &named, true, "GpuOptions::name"),
            (page(true, true), &plain, true, "GpuOptions::fallback"),
        ] {
            let advice = page.advice(options, is_another_there);
            assert!(advice.contains(word), "{advice}");
        }
    }
}
