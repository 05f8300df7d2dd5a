//! What the walk wants to know of an instruction, whichever processor it is for.

use object::Architecture;

use super::image::{Image, Target};
use super::{arm, x86};

/// A register's number: the decoder's own.
pub(crate) type Register = u8;

/// Where control goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    Next,
    Jump(Target),
    Branch(u64),
    Call(Target),
    /// With how many bytes of arguments taken off.
    Return(u64),
    /// Nowhere: a trap.
    Stop,
}

/// What is done to registers, as far as stack pointers are concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// The stack pointer moves by so many bytes.
    Move(i64),
    /// `to = from + offset`
    Add {
        to: Register,
        from: Register,
        offset: i64,
    },
    /// Rounded down to a multiple of `to` bytes.
    Align {
        register: Register,
        to: i64,
    },
    /// From a word that the dynamic linker fills in.
    Load {
        to: Register,
        slot: u64,
    },
    Forget(Register),
}

#[derive(Clone, Debug)]
pub(crate) struct Instruction {
    pub(crate) next: u64,
    pub(crate) flow: Flow,
    /// The register that an unknown call or jump goes through.
    pub(crate) through: Option<Register>,
    pub(crate) ops: Vec<Op>,
    /// Whether the operations may also not happen.
    pub(crate) conditional: bool,
    /// Whether an unknown jump is more than one through a pointer.
    pub(crate) computed: bool,
    /// A read-modify-write that other processors see as one.
    pub(crate) atomic: bool,
    pub(crate) system_call: bool,
    pub(crate) text: String,
}

/// A processor, for the walk.
pub(crate) trait Processor {
    /// The instruction at an address.
    fn decode(&self, image: &Image, at: u64) -> Option<Instruction>;
    fn stack_pointer(&self) -> Register;
    /// What a function may leave changed.
    fn clobbered(&self) -> &[Register];
    /// Bytes that a call itself pushes.
    fn call_bytes(&self) -> i64;
}

pub(crate) fn processor(image: &Image) -> Box<dyn Processor> {
    match image.arch {
        Architecture::X86_64 => Box::new(x86::X86::new(64)),
        Architecture::I386 => Box::new(x86::X86::new(32)),
        Architecture::Arm => Box::new(arm::Arm::new()),
        other => panic!("no decoder for {other:?}"),
    }
}
