//! Decodes RISC-V code of 64 bits (rv64gc). riscv-isa says what an instruction is, with the
//! compressed ones written out; what that means for the walk is said here. The ABI is that of
//! RISC-V Calling Conventions, and of RISC-V ELF psABI, "Procedure Linkage Table".

use riscv_isa::{Instruction as Decoded, Target as Isa, decode_le_bytes};

use super::code::{Flow, Instruction, Op, Processor, Register};
use super::image::{Image, Target};

const ZERO: u32 = 0;
const RA: u32 = 1;
const SP: Register = 2;

pub(crate) struct RiscV {
    isa: Isa,
    clobbered: Vec<Register>,
}

fn register(number: u32) -> Register {
    u8::try_from(number).expect("one of 32 registers")
}

/// What assemblers write for `unimp`, of two bytes and of four: no decoder knows them, as
/// nothing will ever be encoded there (The RISC-V Instruction Set Manual, volume I, 16.6 and
/// "RV32/64G Instruction Set Listings").
fn is_undefined(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0, 0]) || bytes.starts_with(&0xc000_1073_u32.to_le_bytes())
}

/// What riscv-isa 0.3.1 takes for undefined though it is of rv64gc (The RISC-V Instruction Set
/// Manual, volume I, "Integer Computational Instructions" of the C extension): c.and, and the
/// compressed shifts by 32 bits and more. Each changes one register, and nothing else.
fn not_known(bytes: &[u8]) -> Option<(Register, &'static str)> {
    let code = u16::from_le_bytes(bytes.get(..2)?.try_into().ok()?);
    let field = |from: u32, count: u32| code >> from & ((1 << count) - 1);
    let short = Register::try_from(field(7, 3)).ok()? + 8;
    let long = Register::try_from(field(7, 5)).ok()?;
    match (field(0, 2), field(13, 3), field(10, 3)) {
        (0b01, 0b100, 0b011) if field(5, 2) == 0b11 => Some((short, "c.and")),
        (0b01, 0b100, 0b100) => Some((short, "c.srli")),
        (0b01, 0b100, 0b101) => Some((short, "c.srai")),
        (0b10, 0b000, _) if long != 0 => Some((long, "c.slli")),
        _ => None,
    }
}

impl RiscV {
    pub(crate) fn new() -> Self {
        // ra, t0 to t2, a0 to a7, t3 to t6.
        let clobbered = [1].into_iter().chain(5..8).chain(10..18).chain(28..32).collect();
        let isa = "RV64IMAFDCZifencei_Zicsr".parse().expect("extensions that the decoder knows");
        Self { isa, clobbered }
    }

    fn read(&self, image: &Image, at: u64) -> Option<(Decoded, u64)> {
        let (decoded, len) = decode_le_bytes(image.bytes(at)?, &self.isa)?;
        Some((decoded, len as u64))
    }

    /// The address of `offset(base)`, if the instruction before this one is the auipc that
    /// makes the two a pair.
    fn address(&self, image: &Image, at: u64, base: u32, offset: i32) -> Option<u64> {
        let before = at.checked_sub(4)?;
        match self.read(image, before)? {
            (Decoded::AUIPC { rd, imm }, 4) if rd == base => {
                let high = i64::from(imm.cast_signed() << 12);
                Some(before.wrapping_add_signed(high + i64::from(offset)))
            }
            _ => None,
        }
    }

    /// Whether a jump through `register` goes to one of several places: what was written to the
    /// register last is a sum of two, a table's address and an entry of it, or was loaded from
    /// where such a sum points to.
    fn is_computed(&self, image: &Image, jump: u64, register: Register) -> bool {
        let mut at = image.function(jump).map_or(jump, |function| function.start);
        let mut sums = [false; 32];
        while at < jump {
            let Some((decoded, len)) = self.read(image, at) else { break };
            if let Some(to) = written(&decoded, &decoded.to_string()) {
                sums[usize::from(to)] = match decoded {
                    Decoded::ADD { rs1, rs2, .. } => rs1 != ZERO && rs2 != ZERO,
                    Decoded::LD { rs1, offset: 0, .. } | Decoded::LW { rs1, offset: 0, .. } => {
                        sums[usize::from(self::register(rs1))]
                    }
                    _ => false,
                };
            }
            at += len;
        }
        sums[usize::from(register)]
    }

    fn flow(&self, image: &Image, at: u64, decoded: &Decoded) -> Flow {
        let leads_to = |to: u64| image.stub(to).cloned().unwrap_or(Target::At(to));
        let relative = |offset: i32| at.wrapping_add_signed(i64::from(offset));
        match *decoded {
            Decoded::JAL { rd: ZERO, offset } => Flow::Jump(leads_to(relative(offset))),
            Decoded::JAL { offset, .. } => Flow::Call(leads_to(relative(offset))),
            Decoded::JALR { rd: ZERO, rs1: RA, offset: 0 } => Flow::Return(0),
            Decoded::JALR { rd, rs1, offset } => {
                let to = self.address(image, at, rs1, offset);
                let target = to.map_or(Target::Unknown, leads_to);
                if rd == ZERO { Flow::Jump(target) } else { Flow::Call(target) }
            }
            Decoded::BEQ { offset, .. }
            | Decoded::BNE { offset, .. }
            | Decoded::BLT { offset, .. }
            | Decoded::BGE { offset, .. }
            | Decoded::BLTU { offset, .. }
            | Decoded::BGEU { offset, .. } => Flow::Branch(relative(offset)),
            Decoded::EBREAK | Decoded::UNIMP => Flow::Stop,
            _ => Flow::Next,
        }
    }

    fn ops(&self, image: &Image, at: u64, decoded: &Decoded, text: &str) -> Vec<Op> {
        let add = |to, from, offset| {
            vec![Op::Add { to: register(to), from: register(from), offset: i64::from(offset) }]
        };
        match *decoded {
            Decoded::ADDI { rd, rs1, imm } if rd != ZERO => add(rd, rs1, imm),
            // `mv`, in its compressed form.
            Decoded::ADD { rd, rs1: ZERO, rs2 } if rd != ZERO => add(rd, rs2, 0),
            Decoded::ANDI { rd, rs1, imm } if rd == rs1 && imm < 0 => {
                vec![Op::Align { register: register(rd), to: -i64::from(imm) }]
            }
            Decoded::LD { rd, rs1, offset } if rd != ZERO => {
                let to = register(rd);
                let slot = self.address(image, at, rs1, offset);
                vec![slot.map_or(Op::Forget(to), |slot| Op::Load { to, slot })]
            }
            _ => written(decoded, text).map(Op::Forget).into_iter().collect(),
        }
    }
}

/// The integer register that an instruction writes: the first in its text, but for stores and
/// branches, which write none.
fn written(decoded: &Decoded, text: &str) -> Option<Register> {
    let stores = matches!(
        decoded,
        Decoded::SB { .. } | Decoded::SH { .. } | Decoded::SW { .. } | Decoded::SD { .. }
    );
    let first = text.split([' ', ',']).nth(1).filter(|_| !stores && !decoded.branch())?;
    let number = first.strip_prefix('x')?.parse().expect("a register");
    (number != 0).then_some(number)
}

/// An exclusive pair counts once, for the half that stores.
fn is_atomic(decoded: &Decoded) -> bool {
    let stores = decoded.store();
    let loads = decoded.load();
    stores && loads || matches!(decoded, Decoded::SC_W { .. } | Decoded::SC_D { .. })
}

impl Processor for RiscV {
    fn decode(&self, image: &Image, at: u64) -> Option<Instruction> {
        let (decoded, len) = self.read(image, at)?;
        let bytes = image.bytes(at)?;
        if decoded == Decoded::UNIMP && !is_undefined(bytes) {
            let (register, text) = not_known(bytes)?;
            return Some(Instruction {
                next: at + len,
                flow: Flow::Next,
                through: None,
                ops: vec![Op::Forget(register)],
                conditional: false,
                computed: false,
                atomic: false,
                system_call: false,
                text: text.into(),
            });
        }
        let text = decoded.to_string();
        let through = match decoded {
            Decoded::JALR { rs1, .. } => Some(register(rs1)),
            _ => None,
        };
        Some(Instruction {
            next: at + len,
            flow: self.flow(image, at, &decoded),
            through,
            ops: self.ops(image, at, &decoded, &text),
            conditional: false,
            computed: through.is_some_and(|register| self.is_computed(image, at, register)),
            atomic: is_atomic(&decoded),
            system_call: decoded == Decoded::ECALL,
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
