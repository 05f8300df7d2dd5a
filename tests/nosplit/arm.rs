//! Decodes ARM code (A32). Encodings: ARM Architecture Reference Manual, ARMv7-A and
//! ARMv7-R, A5.1 to A5.7. yaxpeax says whether a word is an instruction and how it is
//! written; what it does to the stack pointer is read from its fields here.

use yaxpeax_arch::{Decoder, U8Reader};
use yaxpeax_arm::armv7::InstDecoder;

use super::code::{Flow, Instruction, Op, Processor, Register};
use super::image::{Image, Target};

const SP: Register = 13;
const PC: Register = 15;
const LR: u32 = 14;

pub(crate) struct Arm {
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
    #[allow(clippy::cast_possible_truncation)] // four bits
    let register = bits(word, from, 4) as Register;
    register
}

/// A5.2.4, "Modified immediate constants in ARM instructions".
fn modified_immediate(word: u32) -> i64 {
    i64::from(bits(word, 0, 8).rotate_right(2 * bits(word, 8, 4)))
}

/// A coprocessor instruction of VFP or Advanced SIMD's registers.
fn is_vfp(word: u32) -> bool {
    bits(word, 25, 3) == 0b110 && bits(word, 9, 3) == 0b101
        || bits(word, 24, 4) == 0b1110 && bits(word, 9, 3) == 0b101
}

fn is_load_or_store(word: u32) -> bool {
    bits(word, 26, 2) == 0b01 && !is(word, 0x0200_0010, 0x0200_0010)
}

/// A5.4, "Media instructions": extensions, bit fields, reversals.
fn is_media(word: u32) -> bool {
    is(word, 0x0e00_0010, 0x0600_0010)
}

/// A5.4.5, "UDF".
fn is_undefined(word: u32) -> bool {
    is(word, 0xfff0_00f0, 0xe7f0_00f0)
}

fn is_block_transfer(word: u32) -> bool {
    bits(word, 25, 3) == 0b100
}

/// Halfwords, doublewords, exclusives, multiplications: A5.2.5 to A5.2.10.
fn is_extra(word: u32) -> bool {
    is(word, 0x0e00_0090, 0x0000_0090)
}

fn is_data_processing(word: u32) -> bool {
    bits(word, 26, 2) == 0 && !is_extra(word)
}

/// TST, TEQ, CMP, CMN have no result; with S clear their encodings are other instructions.
fn has_result(word: u32) -> bool {
    !is(word, 0x0180_0000, 0x0100_0000)
}

impl Arm {
    pub(crate) fn new() -> Self {
        Self { clobbered: vec![0, 1, 2, 3, 12, 14] }
    }

    fn flow(image: &Image, at: u64, word: u32) -> Flow {
        let always = bits(word, 28, 4) == 14;
        if is(word, 0x0e00_0000, 0x0a00_0000) {
            let offset = i64::from((word << 8).cast_signed() >> 6) + 8;
            let to = at.wrapping_add_signed(offset);
            let target = image.stub(to).cloned().unwrap_or(Target::At(to));
            return match (bits(word, 24, 1), always) {
                // BLX goes to Thumb code: no function here has such an address.
                _ if bits(word, 28, 4) == 15 => Flow::Call(Target::At(to | 1)),
                (1, _) => Flow::Call(target),
                (_, true) => Flow::Jump(target),
                (_, false) => Flow::Branch(to),
            };
        }
        if bits(word, 28, 4) == 15 {
            // Barriers, hints, Advanced SIMD: A5.7.
            return Flow::Next;
        }
        let leaves = if is(word, 0x0fff_fff0, 0x012f_ff30) {
            return Flow::Call(Target::Unknown);
        } else if is(word, 0x0fff_fff0, 0x012f_ff10) || is(word, 0x0fff_fff0, 0x01a0_f000) {
            if bits(word, 0, 4) == LR { Flow::Return(0) } else { Flow::Jump(Target::Unknown) }
        } else if is_block_transfer(word) && is(word, 0x0010_8000, 0x0010_8000) {
            if register(word, 16) == SP { Flow::Return(0) } else { Flow::Jump(Target::Unknown) }
        } else if is_load_or_store(word) && bits(word, 20, 1) == 1 && register(word, 12) == PC {
            let pops = is(word, 0x0fff_ffff, 0x049d_f004);
            if pops { Flow::Return(0) } else { Flow::Jump(Target::Unknown) }
        } else if is_data_processing(word) && has_result(word) && register(word, 12) == PC {
            Flow::Jump(Target::Unknown)
        } else if is_undefined(word) {
            return Flow::Stop;
        } else {
            return Flow::Next;
        };
        // A conditional return: the walk follows the other side.
        if !always && leaves == Flow::Return(0) { Flow::Next } else { leaves }
    }

    fn ops(word: u32) -> Vec<Op> {
        let (base, to) = (register(word, 16), register(word, 12));
        let up = bits(word, 23, 1) == 1;
        let signed = |bytes: u32| if up { i64::from(bytes) } else { -i64::from(bytes) };
        let writes_back = bits(word, 24, 1) == 0 || bits(word, 21, 1) == 1;
        if is_vfp(word) {
            let moves = bits(word, 25, 3) == 0b110 && bits(word, 21, 1) == 1 && base == SP;
            let reads = is(word, 0x0f10_0010, 0x0e10_0010) && to != PC;
            return match (moves, reads) {
                (true, _) => vec![Op::Move(signed(4 * bits(word, 0, 8)))],
                (_, true) => vec![Op::Forget(to)],
                _ => vec![],
            };
        }
        let mut ops = Vec::new();
        if is_block_transfer(word) {
            let list = bits(word, 0, 16);
            if bits(word, 20, 1) == 1 {
                ops.extend((0..15).filter(|r| list >> r & 1 == 1 && *r != SP).map(Op::Forget));
                ops.extend((list >> SP & 1 == 1).then_some(Op::Forget(SP)));
            }
            if bits(word, 21, 1) == 1 {
                let bytes = signed(4 * list.count_ones());
                ops.push(if base == SP { Op::Move(bytes) } else { Op::Forget(base) });
            }
        } else if is_load_or_store(word) {
            if bits(word, 20, 1) == 1 && to != PC {
                ops.push(Op::Forget(to));
            }
            if writes_back {
                let known = base == SP && bits(word, 25, 1) == 0;
                ops.push(if known {
                    Op::Move(signed(bits(word, 0, 12)))
                } else {
                    Op::Forget(base)
                });
            }
        } else if is_extra(word) {
            ops.extend([to, base, to | 1].into_iter().filter(|r| *r < SP).map(Op::Forget));
            if base == SP && bits(word, 5, 2) != 0 && writes_back {
                let bytes = bits(word, 8, 4) << 4 | bits(word, 0, 4);
                let known = bits(word, 22, 1) == 1;
                ops.push(if known { Op::Move(signed(bytes)) } else { Op::Forget(SP) });
            }
        } else if is_data_processing(word) && has_result(word) && to != PC {
            let immediate = modified_immediate(word);
            ops.push(match bits(word, 20, 8) & !1 {
                0x28 => Op::Add { to, from: base, offset: immediate },
                0x24 => Op::Add { to, from: base, offset: -immediate },
                0x3c if to == base => Op::Align { register: to, to: immediate + 1 },
                0x1a if bits(word, 4, 8) == 0 => Op::Add { to, from: register(word, 0), offset: 0 },
                _ => Op::Forget(to),
            });
        } else if is(word, 0x0fe0_007f, 0x07c0_001f) && bits(word, 7, 5) == 0 {
            ops.push(Op::Align { register: to, to: 1 << (bits(word, 16, 5) + 1) });
        } else if bits(word, 25, 3) == 0b011 {
            ops.extend([to, base].into_iter().filter(|r| *r != PC).map(Op::Forget));
        }
        ops
    }
}

impl Processor for Arm {
    fn decode(&self, image: &Image, at: u64) -> Option<Instruction> {
        // Thumb code is not decoded.
        let bytes = image.bytes(at).filter(|_| at.is_multiple_of(4))?.get(..4)?;
        let word = u32::from_le_bytes(bytes.try_into().ok()?);
        let decoded = InstDecoder::default().decode(&mut U8Reader::new(bytes));
        let text = match decoded {
            Ok(instruction) => instruction.to_string(),
            Err(_) if is_undefined(word) => "udf".into(),
            Err(_) if is_media(word) => format!("media {word:#010x}"),
            Err(_) if is_vfp(word) => format!("VFP {word:#010x}"),
            // CLREX, DSB, DMB, ISB: A5.7.1, "Memory hints, Advanced SIMD instructions, and
            // miscellaneous instructions".
            Err(_) if is(word, 0xffff_ff00, 0xf57f_f000) => format!("barrier {word:#010x}"),
            Err(_) => return None,
        };
        let flow = Self::flow(image, at, word);
        let through = matches!(flow, Flow::Call(Target::Unknown) | Flow::Jump(Target::Unknown))
            .then(|| register(word, 0));
        let returns = bits(word, 28, 4) != 14
            && is_block_transfer(word)
            && is(word, 0x0010_8000, 0x0010_8000);
        Some(Instruction {
            next: at + 4,
            flow,
            through,
            ops: if returns { vec![] } else { Self::ops(word) },
            conditional: bits(word, 28, 4) < 14,
            // BX jumps through one pointer.
            computed: !is(word, 0x0fff_fff0, 0x012f_ff10),
            // STREX and its variants, one for each pair; SWP.
            atomic: is(word, 0x0f90_0ff0, 0x0180_0f90) || is(word, 0x0fb0_0ff0, 0x0100_0090),
            system_call: is(word, 0x0f00_0000, 0x0f00_0000),
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
