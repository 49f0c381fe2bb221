//! Finds a CUDA GPU, and what burn needs to use it, before burn looks: it panics without.

use burn_cuda::{Cuda, CudaDevice};
use cudarc::{driver, nvrtc};

use super::burn::BurnExecutor;
use super::{DeviceError, Passes};
use crate::lab::network::Graph;

/// Tells whether there is a GPU, and what using it needs.
pub fn find() -> Result<(), DeviceError> {
    find_libraries()?;
    find_gpu()
}

/// The first GPU, ready to train `graph`; to be called after [`find`].
pub fn passes(graph: Graph) -> Result<Box<dyn Passes>, DeviceError> {
    Ok(Box::new(BurnExecutor::<Cuda>::new(graph, CudaDevice::default())))
}

fn find_libraries() -> Result<(), DeviceError> {
    // SAFETY: loading NVIDIA's libraries runs their initializers, which have no preconditions.
    let (driver, compiler) =
        unsafe { (driver::sys::is_culib_present(), nvrtc::sys::is_culib_present()) };
    if !driver {
        let remedy = "it comes with NVIDIA's driver; install that, or train on the CPU";
        return Err(DeviceError::NoLibrary { library: "libcuda.so.1", remedy });
    }
    if !compiler {
        let remedy = "NVRTC compiles the kernels; install CUDA 12 or 13, or name the folder that \
                      holds it in LD_LIBRARY_PATH";
        return Err(DeviceError::NoLibrary { library: "libnvrtc.so", remedy });
    }
    if cubecl_cuda::install::cuda_path().is_none() {
        let remedy = "kernels include CUDA's headers; name the folder that holds `include` in \
                      CUDA_PATH";
        return Err(DeviceError::NoLibrary { library: "/usr/local/cuda", remedy });
    }
    Ok(())
}

fn find_gpu() -> Result<(), DeviceError> {
    let no_gpu = |error: driver::result::DriverError| DeviceError::NoGpu { why: error.to_string() };
    driver::result::init().map_err(no_gpu)?;
    match driver::result::device::get_count().map_err(no_gpu)? {
        ..1 => Err(DeviceError::NoGpu { why: "it counts none".into() }),
        _ => Ok(()),
    }
}
