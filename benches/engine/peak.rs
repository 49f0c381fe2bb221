//! How many 8-bit products a CPU's core can sum, if nothing else hinders it: all operands in registers,
//! and sums enough that none waits for its last one.

#[cfg(target_arch = "x86_64")]
pub use x86_64::{multiply, name};

/// Elsewhere nothing is measured.
#[cfg(not(target_arch = "x86_64"))]
pub fn name(_kernels: &str) -> &'static str {
    "no instruction is known for this CPU"
}

/// See [`name`].
#[cfg(not(target_arch = "x86_64"))]
pub fn multiply(_products: usize, _kernels: &str) {}

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use std::arch::asm;

    /// Sums in registers: an instruction takes up to 5 cycles, and two may begin in each.
    const SUMS: usize = 12;

    /// Whether this set of kernels runs on it, and the CPU has it.
    fn has_vnni(kernels: &str) -> bool {
        let has = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni");
        has && kernels == "AVX-512 VNNI"
    }

    /// The instructions that are measured beside kernels of this name.
    pub fn name(kernels: &str) -> &'static str {
        match has_vnni(kernels) {
            true => "vpdpbusd, 512 bits",
            false => "vpmaddwd and vpaddd, 256 bits",
        }
    }

    /// Computes at least so many products and sums them.
    pub fn multiply(products: usize, kernels: &str) {
        if has_vnni(kernels) {
            // SAFETY: the CPU has these features.
            unsafe { multiply_vnni(products.div_ceil(SUMS * 64)) }
        } else {
            assert!(is_x86_feature_detected!("avx2"));
            // SAFETY: the CPU has AVX2.
            unsafe { multiply_avx2(products.div_ceil(SUMS * 16)) }
        }
    }

    /// `rounds` times [`SUMS`] sums of 64 products.
    #[target_feature(enable = "avx512f,avx512vnni")]
    fn multiply_vnni(rounds: usize) {
        // SAFETY: it touches no memory and no register but those named, whose numbers may be any; it ends,
        // as `rounds` is not 0.
        unsafe {
            asm!(
                "2:",
                ".irp sum, 0,1,2,3,4,5,6,7,8,9,10,11",
                "vpdpbusd zmm\\sum, zmm12, zmm13",
                ".endr",
                "dec {rounds}",
                "jnz 2b",
                rounds = inout(reg) rounds.max(1) => _,
                out("zmm0") _, out("zmm1") _, out("zmm2") _, out("zmm3") _,
                out("zmm4") _, out("zmm5") _, out("zmm6") _, out("zmm7") _,
                out("zmm8") _, out("zmm9") _, out("zmm10") _, out("zmm11") _,
                out("zmm12") _, out("zmm13") _,
                options(nomem, nostack),
            );
        }
    }

    /// `rounds` times [`SUMS`] sums of 16 products, of 16-bit numbers, as without VNNI they must be to
    /// be exact.
    #[target_feature(enable = "avx2")]
    fn multiply_avx2(rounds: usize) {
        // SAFETY: as above.
        unsafe {
            asm!(
                "2:",
                ".irp sum, 0,1,2,3,4,5,6,7,8,9,10,11",
                "vpmaddwd ymm14, ymm12, ymm13",
                "vpaddd ymm\\sum, ymm\\sum, ymm14",
                ".endr",
                "dec {rounds}",
                "jnz 2b",
                rounds = inout(reg) rounds.max(1) => _,
                out("ymm0") _, out("ymm1") _, out("ymm2") _, out("ymm3") _,
                out("ymm4") _, out("ymm5") _, out("ymm6") _, out("ymm7") _,
                out("ymm8") _, out("ymm9") _, out("ymm10") _, out("ymm11") _,
                out("ymm12") _, out("ymm13") _, out("ymm14") _,
                options(nomem, nostack),
            );
        }
    }
}
