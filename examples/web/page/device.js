// Where races are run, and in plain words why not on a GPU.

const BROWSERS =
  "Chrome and Edge have it since version 113 (on Android since 121), Safari since 26, Firefox since 141 on Windows and 145 on Macs with Apple's processors.";

// Why this browser cannot reach a GPU; null if it seems to be able to.
async function obstacle() {
  if (!window.isSecureContext) {
    return "Browsers give WebGPU to pages from https:// and from localhost alone, and this one came another way.";
  }
  if (!navigator.gpu) return `This browser has no WebGPU. ${BROWSERS}`;
  try {
    if (await navigator.gpu.requestAdapter()) return null;
  } catch (error) {
    return `This browser has no WebGPU to offer, and says: ${error.message} ${BROWSERS}`;
  }
  return (
    "This browser has WebGPU, but offers no GPU for it: it may be switched off (in Chrome: Settings, System, " +
    "“Use graphics acceleration when available”), or the browser may not trust this driver. chrome://gpu says more, and " +
    "chrome://flags/#enable-unsafe-webgpu turns it on all the same."
  );
}

// Programs that compute in a GPU's place.
const SOFTWARE = /swiftshader|llvmpipe|lavapipe|basic render|warp/i;

async function adapter() {
  const info = (await navigator.gpu.requestAdapter())?.info;
  const words = info?.description ? [info.description] : [info?.vendor, info?.architecture];
  const name = words.filter(Boolean).join(" ") || "by no name";
  const all = [name, info?.vendor, info?.architecture, info?.device].join(" ");
  return { name, isSoftware: info?.isFallbackAdapter === true || SOFTWARE.test(all) };
}

// { gpu, name, isSoftware, why }: the course on the GPU, or null and why.
export async function openGpu(Course) {
  const why = await obstacle();
  if (why) return { gpu: null, why };
  try {
    return { gpu: await Course.on_gpu(), ...(await adapter()) };
  } catch (error) {
    return { gpu: null, why: error.message };
  }
}
