//! Wider vectors for loops over numbers.

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
use fearless_simd::{Level, Simd};

/// Does `work` on numbers of type `T` with AVX2 vectors where the processor has them. All of `work` must
/// be inlined. Without this, a program uses the vectors of the oldest x86-64. Products and sums are never
/// fused, so results do not depend on it. For f64, which is only a reference, the code is not
/// compiled twice.
#[inline(always)]
pub(crate) fn vectorized<T, R>(work: impl FnOnce() -> R) -> R {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    if size_of::<T>() == size_of::<f32>()
        && let Some(avx2) = Level::new().as_avx2()
    {
        return avx2.vectorize(work);
    }
    work()
}
