//! Decodes A64 code. Encodings: Arm Architecture Reference Manual for A-profile, "A64
//! instruction set encoding". yaxpeax says whether a word is an instruction and how it is
//! written; what it does to the stack pointer is read from its fields here.

use yaxpeax_arch::{Decoder, U8Reader};
use yaxpeax_arm::armv8::a64::InstDecoder;

use super::code::{Flow, Instruction, Op, Processor, Register};
use super::image::{Image, Target};

/// The stack pointer, or, in other places of an instruction, the zero register.
const SP: Register = 31;
const LR: Register = 30;

pub(crate) struct Aarch64 {
    clobbered: Vec<Register>,
}

/// Whether the bits under a mask have this value.
fn is(word: u32, mask: u32, value: u32) -> bool {
    word & mask == value
}

fn bits(word: u32, from: u32, count: u32) -> u32 {
    word >> from & ((1 << count) - 1)
}

fn register(word: u32, from: u32) -> Register {
    #[allow(clippy::cast_possible_truncation)] // five bits
    let register = bits(word, from, 5) as Register;
    register
}

/// A signed number of `count` bits.
fn signed(word: u32, from: u32, count: u32) -> i64 {
    i64::from((bits(word, from, count) << (32 - count)).cast_signed() >> (32 - count))
}

/// "Loads and stores": which of its kinds a word is.
#[derive(PartialEq, Eq)]
enum Access {
    /// Exclusives, ordered accesses, compare and swap.
    Ordered,
    /// Atomic memory operations of ARMv8.1, and LDAPR.
    Memory,
    Pair,
    One,
    Literal,
    /// Structures of vectors.
    Vectors,
}

fn access(word: u32) -> Option<Access> {
    Some(if is(word, 0x3f00_0000, 0x0800_0000) {
        Access::Ordered
    } else if is(word, 0x3b20_0c00, 0x3820_0000) {
        Access::Memory
    } else if is(word, 0x3a00_0000, 0x2800_0000) {
        Access::Pair
    } else if is(word, 0x3a00_0000, 0x3800_0000) {
        Access::One
    } else if is(word, 0x3b00_0000, 0x1800_0000) {
        Access::Literal
    } else if is(word, 0xbe00_0000, 0x0c00_0000) {
        Access::Vectors
    } else {
        return None;
    })
}

/// Whether an access to one register or a pair is to a vector register.
fn is_vector(word: u32) -> bool {
    bits(word, 26, 1) == 1
}

/// Whether it is an atomic read-modify-write. "Load/store exclusive register" and those beside
/// it: o2, L and o1 are bits 23, 22 and 21.
fn is_atomic(word: u32) -> bool {
    match access(word) {
        // Store-exclusives, one for each load-exclusive; compare-and-swap, of one and of a pair.
        Some(Access::Ordered) => match (bits(word, 23, 1), bits(word, 21, 1)) {
            (0, 1) if bits(word, 31, 1) == 0 => true,
            (0, _) => bits(word, 22, 1) == 0,
            (_, o1) => o1 == 1,
        },
        // All but LDAPR, which is a load.
        Some(Access::Memory) => !is(word, 0x3fff_fc00, 0x38bf_c000),
        _ => false,
    }
}

impl Aarch64 {
    pub(crate) fn new() -> Self {
        Self { clobbered: (0..=18).chain([LR]).collect() }
    }

    fn flow(image: &Image, at: u64, word: u32) -> Option<Flow> {
        let to = |from, count| at.wrapping_add_signed(4 * signed(word, from, count));
        let target = |to| image.stub(to).cloned().unwrap_or(Target::At(to));
        Some(if is(word, 0xfc00_0000, 0x1400_0000) {
            Flow::Jump(target(to(0, 26)))
        } else if is(word, 0xfc00_0000, 0x9400_0000) {
            Flow::Call(target(to(0, 26)))
        } else if is(word, 0xff00_0010, 0x5400_0000) || is(word, 0x7e00_0000, 0x3400_0000) {
            Flow::Branch(to(5, 19))
        } else if is(word, 0x7e00_0000, 0x3600_0000) {
            Flow::Branch(to(5, 14))
        } else if is(word, 0xffff_fc1f, 0xd61f_0000) {
            Flow::Jump(Target::Unknown)
        } else if is(word, 0xffff_fc1f, 0xd63f_0000) {
            Flow::Call(Target::Unknown)
        } else if is(word, 0xffff_ffff, 0xd65f_03c0) {
            Flow::Return(0)
        } else if is(word, 0xfe00_0000, 0xd600_0000) {
            return None; // branches to signed addresses, returns by another register
        } else if is(word, 0xffe0_001f, 0xd420_0000) || is(word, 0xffff_0000, 0) {
            Flow::Stop // BRK, UDF
        } else {
            Flow::Next
        })
    }

    /// Whether a jump goes to one of several places: its register was loaded last from a table
    /// by a register, or written by an addition of two, a table's address and an entry of it.
    fn is_computed(image: &Image, at: u64, jump: u32) -> bool {
        let start = image.function(at).map_or(at, |function| function.start);
        let mut earlier = (1..=(at - start) / 4).map_while(|n| word(image, at - 4 * n));
        let wrote = earlier.find(|word| writes(*word).contains(&register(jump, 5)));
        wrote.is_some_and(|word| {
            is(word, 0x7f00_0000, 0x0b00_0000) || is(word, 0x3b20_0c00, 0x3820_0800)
        })
    }

    /// What "Loads and stores" do to registers.
    fn access_ops(word: u32, access: &Access) -> Vec<Op> {
        let (base, to) = (register(word, 5), register(word, 0));
        let moves = match access {
            Access::Pair if bits(word, 23, 1) == 1 => {
                let scale =
                    if is_vector(word) { 2 + bits(word, 30, 2) } else { 2 + bits(word, 31, 1) };
                Some(Some(signed(word, 15, 7) << scale))
            }
            Access::One if is(word, 0x0120_0400, 0x0000_0400) => Some(Some(signed(word, 12, 9))),
            Access::Vectors if bits(word, 23, 1) == 1 => Some(None),
            _ => None,
        };
        let moves = moves.map(|bytes| match bytes {
            Some(bytes) if base == SP => Op::Move(bytes),
            _ => Op::Forget(base),
        });
        let written = match access {
            Access::Pair if !is_vector(word) && bits(word, 22, 1) == 1 => {
                vec![to, register(word, 10)]
            }
            Access::One if !is_vector(word) && bits(word, 22, 2) != 0 => vec![to],
            Access::Literal if !is_vector(word) => vec![to],
            Access::Memory => vec![to],
            Access::Ordered => vec![to, register(word, 10), register(word, 16)],
            _ => vec![],
        };
        // A load writes no stack pointer: 31 is the zero register there.
        written.into_iter().filter(|r| *r != SP).map(Op::Forget).chain(moves).collect()
    }

    /// "Data processing -- immediate", and "-- register".
    fn data_ops(word: u32) -> Vec<Op> {
        let (to, from) = (register(word, 0), register(word, 5));
        let forget = if to == SP { vec![] } else { vec![Op::Forget(to)] };
        let sets_flags = bits(word, 29, 1) == 1;
        if is(word, 0x1f80_0000, 0x1100_0000) {
            let bytes = i64::from(bits(word, 10, 12)) << (12 * bits(word, 22, 1));
            let offset = if bits(word, 30, 1) == 1 { -bytes } else { bytes };
            return match (sets_flags && to == SP, bits(word, 31, 1)) {
                (true, _) => vec![],
                (_, 1) => vec![Op::Add { to, from, offset }],
                _ => vec![Op::Forget(to)],
            };
        }
        if is(word, 0x1f80_0000, 0x1200_0000) {
            // AND with a mask whose ones are at the top: N, immr and imms say how many.
            let (rotated, ones) = (bits(word, 16, 6), bits(word, 10, 6));
            let aligns = is(word, 0xffc0_0000, 0x9240_0000) && rotated == ones + 1;
            return match (aligns, sets_flags && bits(word, 30, 1) == 1) {
                (true, _) => vec![
                    Op::Add { to, from, offset: 0 },
                    Op::Align { register: to, to: 1 << (63 - ones) },
                ],
                (_, true) => forget,
                _ => vec![Op::Forget(to)],
            };
        }
        if is(word, 0xffe0_ffe0, 0xaa00_03e0) && to != SP && register(word, 16) != SP {
            return vec![Op::Add { to, from: register(word, 16), offset: 0 }];
        }
        if is(word, 0x1fe0_0000, 0x0b20_0000) {
            // With a register extended: the one other form that can write the stack pointer.
            return if sets_flags { forget } else { vec![Op::Forget(to)] };
        }
        let is_conditional_compare = is(word, 0x1fe0_0000, 0x1a40_0000);
        if is_conditional_compare { vec![] } else { forget }
    }

    fn ops(word: u32) -> Vec<Op> {
        if let Some(access) = access(word) {
            return Self::access_ops(word, &access);
        }
        let is_data = is(word, 0x1c00_0000, 0x1000_0000) || is(word, 0x0e00_0000, 0x0a00_0000);
        // Conversions, moves and lanes to a general register; MRS.
        let is_from_elsewhere = is(word, 0x5f20_fc00, 0x1e20_0000)
            || is(word, 0x5f20_0000, 0x1e00_0000)
            || is(word, 0xbfe0_ec00, 0x0e00_2c00)
            || is(word, 0xfff0_0000, 0xd530_0000);
        match register(word, 0) {
            _ if is_data => Self::data_ops(word),
            to if is_from_elsewhere && to != SP => vec![Op::Forget(to)],
            _ => vec![],
        }
    }
}

/// The registers that an instruction writes.
fn writes(word: u32) -> Vec<Register> {
    let ops = Aarch64::ops(word).into_iter();
    ops.filter_map(|op| match op {
        Op::Add { to, .. } | Op::Forget(to) => Some(to),
        _ => None,
    })
    .collect()
}

fn word(image: &Image, at: u64) -> Option<u32> {
    let bytes = image.bytes(at).filter(|_| at.is_multiple_of(4))?.get(..4)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

impl Processor for Aarch64 {
    fn decode(&self, image: &Image, at: u64) -> Option<Instruction> {
        let word = word(image, at)?;
        let decoded = InstDecoder::default().decode(&mut U8Reader::new(&word.to_le_bytes()));
        let text = match decoded {
            Ok(instruction) => instruction.to_string(),
            Err(_) if is(word, 0xffff_0000, 0) => "udf".into(),
            Err(_) => return None,
        };
        let flow = Self::flow(image, at, word)?;
        let is_through = matches!(flow, Flow::Call(Target::Unknown) | Flow::Jump(Target::Unknown));
        Some(Instruction {
            next: at + 4,
            computed: flow == Flow::Jump(Target::Unknown) && Self::is_computed(image, at, word),
            flow,
            through: is_through.then(|| register(word, 5)),
            ops: Self::ops(word),
            conditional: false,
            atomic: is_atomic(word),
            system_call: is(word, 0xffe0_001f, 0xd400_0001),
            text,
        })
    }

    fn stack_pointer(&self) -> Register {
        SP
    }

    fn clobbered(&self) -> &[Register] {
        &self.clobbered
    }

    fn call_bytes(&self) -> i64 {
        0
    }
}
