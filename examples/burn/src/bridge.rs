//! Burn tensors as ranges of wgpu buffers, without a copy, and back.

use burn::Tensor;
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::wgpu::{CubeBackend, CubeTensor, Wgpu, WgpuResource};
use burn::backend::{Backend, DType, DTypeUsage, FloatDType, TensorMetadata};
use burn::cubecl::wgpu::{AutoCompiler, WgpuServer};
use wgpu_optim::BufferRange;

use crate::Error;

/// The server behind every wgpu device of burn's.
type Server = WgpuServer<AutoCompiler>;

/// Where tensors lie on the device. As long as it lives, their allocations are neither freed, reused
/// nor moved.
pub(crate) struct Places<H> {
    pub ranges: Vec<BufferRange>,
    /// Of each a `cubecl_runtime::storage::ManagedResource`, which `burn::cubecl` does not name.
    _held: Vec<H>,
}

/// What burn's wgpu backend has for a tensor. With fusion, it may be yet to be computed.
pub(crate) type Primitive = FloatTensor<Wgpu>;

/// What is behind a tensor that is off the tape.
pub(crate) fn primitive<const D: usize>(tensor: Tensor<D>) -> Result<Primitive, Error> {
    let primitive = tensor.try_into_primitive::<Wgpu>();
    primitive.map_err(|error| Error::Burn {
        during: "looking behind a tensor",
        message: format!("it is not one of burn's wgpu backend: {error:?}"),
    })
}

/// The primitive below fusion. Everything that burn has queued for this thread's stream runs first.
/// A tensor that is the only one of its buffer gives it up here.
#[cfg(feature = "fusion")]
pub(crate) fn computed(primitive: Primitive) -> CubeTensor {
    let client = primitive.client.clone();
    client.resolve_tensor_float::<CubeBackend>(primitive)
}

/// The primitive itself, since nothing is fused.
#[cfg(not(feature = "fusion"))]
pub(crate) fn computed(primitive: Primitive) -> CubeTensor {
    primitive
}

/// The tensor of a primitive.
#[cfg(feature = "fusion")]
pub(crate) fn wrap<const D: usize>(tensor: CubeTensor) -> Tensor<D> {
    use burn::backend::fusion::custom::{OperationIr, OperationOutput, StreamId};
    use burn::backend::fusion::{NoOp, get_client};
    use burn::backend::ir::{BackendIr, InitOperationIr};

    let client = get_client::<CubeBackend>(&tensor.device);
    let (shape, dtype) = (TensorMetadata::shape(&tensor), tensor.dtype);
    let handle = CubeBackend::float_tensor_handle(tensor);
    let init = InitOperationIr::create(shape, dtype, || client.register_tensor_handle(handle));
    let operation = NoOp::<CubeBackend>::new();
    let outputs = client.register(StreamId::current(), OperationIr::Init(init), operation);
    Tensor::from_primitive::<Wgpu>(outputs.output())
}

/// The tensor of a primitive.
#[cfg(not(feature = "fusion"))]
pub(crate) fn wrap<const D: usize>(tensor: CubeTensor) -> Tensor<D> {
    Tensor::from_primitive::<Wgpu>(tensor)
}

/// Whether a kernel that takes elements one after another can read the tensor where it lies.
pub(crate) fn is_in_order(tensor: &CubeTensor) -> bool {
    tensor.is_contiguous() && !tensor.meta.is_tiled()
}

/// The elements of a tensor one after another, in a buffer of their own.
pub(crate) fn in_order(tensor: CubeTensor) -> CubeTensor {
    let (client, device, dtype) = (tensor.client.clone(), tensor.device.clone(), tensor.dtype);
    let elem = burn::backend::cubecl::dtype_to_storage_type(dtype);
    let made = burn::cubecl::std::tensor::into_contiguous(&client, tensor.binding(), elem);
    CubeTensor::new(client, made.handle, *made.metadata, device, dtype)
}

/// Whether both are the same bytes on the device. As long as one is kept, burn makes no others of them.
pub(crate) fn is_same(a: &CubeTensor, b: &CubeTensor) -> bool {
    let [a, b] = [a, b].map(|tensor| &tensor.handle);
    std::ptr::eq(a.memory.descriptor(), b.memory.descriptor())
        && (a.offset_start, a.offset_end) == (b.offset_start, b.offset_end)
}

/// Whether burn can copy tensors of this type on this device.
pub(crate) fn can_copy(tensor: &CubeTensor) -> bool {
    let usage = CubeBackend::dtype_usage(&tensor.device, tensor.dtype);
    usage.contains(DTypeUsage::Storage)
}

/// The same numbers as f32.
pub(crate) fn as_f32(tensor: CubeTensor) -> CubeTensor {
    match tensor.dtype {
        DType::F32 => tensor,
        _ => CubeBackend::float_cast(tensor, FloatDType::F32),
    }
}

/// Where tensors lie that [are in order](is_in_order), by a single trip to cubecl's thread. What
/// cubecl has recorded so far of this thread's stream and of the tensors' is submitted by this.
pub(crate) fn places(tensors: &[&CubeTensor]) -> Result<Places<impl Send + use<>>, Error> {
    let all = || {
        let places = tensors.iter().map(|tensor| place(tensor));
        places.collect::<Result<Vec<_>, _>>()
    };
    let places = match tensors.first() {
        Some(first) => first.client.exclusive(all).map_err(|error| Error::Burn {
            during: "finding buffers",
            message: format!("{error:?}"),
        })??,
        None => Vec::new(),
    };
    let (ranges, _held) = places.into_iter().unzip();
    Ok(Places { ranges, _held })
}

fn place(tensor: &CubeTensor) -> Result<(BufferRange, impl Send + use<>), Error> {
    let failed = |message: String| Error::Burn {
        during: "finding a buffer",
        message,
    };
    let held = tensor.client.get_resource::<Server>(tensor.handle.clone());
    let held = held.map_err(|error| failed(error.to_string()))?;
    let WgpuResource {
        buffer,
        offset,
        size,
        ..
    } = held.resource();
    let needed = (tensor.meta.num_elements() * tensor.dtype.size()) as u64;
    // Two elements of 16 bits share a word. Burn begins the next tensor at a later one.
    let words = needed.next_multiple_of(4);
    if *size < needed || offset + words > buffer.size() {
        return Err(failed(format!("{size} bytes for a tensor of {needed}")));
    }
    let range = BufferRange {
        buffer: buffer.clone(),
        offset: *offset,
        size: words,
    };
    Ok((range, held))
}
