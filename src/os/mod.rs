//! What the kernel asks of the system. Nothing outside this folder asks for one.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(all(target_os = "linux", feature = "freestanding"))]
pub use linux::Errno;
#[cfg(target_os = "linux")]
pub(crate) use linux::*;

#[cfg(not(target_os = "linux"))]
compile_error!("needm runs on Linux only");
