//! What the walk must know of an instruction, on every architecture: what a decoder
//! answers.

use super::image::{Image, Target};

/// A register, by the decoder's own numbers.
pub(crate) type Register = u8;

/// Where control goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    Next,
    Jump(Target),
    Branch(u64),
    Call(Target),
    /// Pops so many bytes of arguments, too.
    Return(u64),
    /// Ends here: a trap.
    Stop,
}

/// What an instruction does to a register that may hold a stack pointer.
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
    /// Loaded from a word that the dynamic linker fills in.
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
    /// Whether the operations are conditional.
    pub(crate) conditional: bool,
    /// Whether an unknown jump may go to several places (a table), not through one pointer.
    pub(crate) computed: bool,
    /// Whether it is an atomic read-modify-write.
    pub(crate) atomic: bool,
    pub(crate) system_call: bool,
    pub(crate) text: String,
}

/// An architecture's instructions.
pub(crate) trait Processor {
    /// The instruction at an address.
    fn decode(&self, image: &Image, at: u64) -> Option<Instruction>;
    fn stack_pointer(&self) -> Register;
    /// The registers that a called function need not preserve.
    fn clobbered(&self) -> &[Register];
    /// Bytes that a call pushes.
    fn call_bytes(&self) -> i64;
}
