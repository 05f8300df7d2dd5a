//! The decoder of each architecture: a port adds one.

use object::Architecture;

use super::code::Processor;
use super::image::Image;
use super::{aarch64, arm, riscv, x86};

type New = fn() -> Box<dyn Processor>;

const DECODERS: [(Architecture, New); 5] = [
    (Architecture::X86_64, || Box::new(x86::X86::new(64))),
    (Architecture::I386, || Box::new(x86::X86::new(32))),
    (Architecture::Arm, || Box::new(arm::Arm::new())),
    (Architecture::Aarch64, || Box::new(aarch64::Aarch64::new())),
    (Architecture::Riscv64, || Box::new(riscv::RiscV::new())),
];

/// The decoder for an image's code.
pub(crate) fn processor(image: &Image) -> Box<dyn Processor> {
    let new = DECODERS.iter().find(|(arch, _)| *arch == image.arch).map(|(_, new)| new);
    new.unwrap_or_else(|| panic!("no decoder for {:?}", image.arch))()
}
