//! Decodes x86 code, of 64 and 32 bits.

use iced_x86::{
    Code, Decoder, DecoderOptions, FlowControl, Formatter, GasFormatter, InstructionInfoFactory,
    InstructionInfoOptions, Mnemonic, OpAccess, OpKind, Register as Name,
};

use super::code::{Flow, Instruction, Op, Processor, Register};
use super::image::{Image, Target};

pub(crate) struct X86 {
    bits: u32,
    clobbered: Vec<Register>,
}

fn number(name: Name) -> Register {
    u8::try_from(name.full_register().number()).expect("a general register")
}

impl X86 {
    pub(crate) fn new(bits: u32) -> Self {
        use Name::{R8, R9, R10, R11, RAX, RCX, RDI, RDX, RSI};
        let all = [RAX, RCX, RDX, RSI, RDI, R8, R9, R10, R11];
        let names = if bits == 64 { &all[..] } else { &all[..3] };
        Self { bits, clobbered: names.iter().map(|name| number(*name)).collect() }
    }

    fn target(&self, image: &Image, i: &iced_x86::Instruction) -> Target {
        match i.op0_kind() {
            OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64 => {
                let at = i.near_branch_target();
                if let Some(target) = image.stub(at) {
                    return target.clone();
                }
                if image.function(at).is_none() {
                    return self.through_linkage_table(image, at);
                }
                Target::At(at)
            }
            OpKind::Memory => {
                self.slot(i).and_then(|at| image.slot(at)).cloned().unwrap_or(Target::Unknown)
            }
            _ => Target::Unknown,
        }
    }

    /// Where an entry of the linkage table leads: it is one jump through a slot.
    fn through_linkage_table(&self, image: &Image, at: u64) -> Target {
        let bytes = image.bytes(at).unwrap_or_default();
        let i = Decoder::with_ip(self.bits, bytes, at, DecoderOptions::NONE).decode();
        let slot = self.slot(&i).filter(|_| i.flow_control() == FlowControl::IndirectBranch);
        slot.and_then(|slot| image.slot(slot)).cloned().unwrap_or(Target::At(at))
    }

    /// The address of a memory operand, if it is fixed.
    fn slot(&self, i: &iced_x86::Instruction) -> Option<u64> {
        let fixed = i.is_ip_rel_memory_operand()
            || i.memory_base() == Name::None && i.memory_index() == Name::None;
        fixed.then(|| i.memory_displacement64())
    }

    fn ops(&self, i: &iced_x86::Instruction) -> Vec<Op> {
        let sp = self.stack_pointer();
        let register = |n| {
            (i.op_kind(n) == OpKind::Register && i.op_register(n).is_gpr())
                .then(|| number(i.op_register(n)))
        };
        let immediate = |n| i.try_immediate(n).ok().map(u64::cast_signed);
        let bytes = i64::from(self.bits / 8);
        let whole = i.op0_register().size() * 8 == self.bits as usize;
        match (i.mnemonic(), register(0), register(1)) {
            (Mnemonic::Leave, ..) => {
                vec![
                    Op::Add { to: sp, from: number(Name::RBP), offset: bytes },
                    Op::Forget(number(Name::RBP)),
                ]
            }
            (Mnemonic::Mov, Some(to), Some(from)) if whole => vec![Op::Add { to, from, offset: 0 }],
            (Mnemonic::Mov, Some(to), None) if whole && i.op1_kind() == OpKind::Memory => {
                self.slot(i).map_or(vec![Op::Forget(to)], |slot| vec![Op::Load { to, slot }])
            }
            (Mnemonic::Lea, Some(to), _)
                if i.memory_index() == Name::None && i.memory_base().is_gpr() =>
            {
                let offset = i.memory_displacement64().cast_signed();
                let offset = if self.bits == 32 { i64::from(low_half(offset)) } else { offset };
                vec![Op::Add { to, from: number(i.memory_base()), offset }]
            }
            (Mnemonic::Add | Mnemonic::Sub, Some(to), None) if immediate(1).is_some() => {
                let value = immediate(1).unwrap_or_default();
                let value = if self.bits == 32 { i64::from(low_half(value)) } else { value };
                let offset = if i.mnemonic() == Mnemonic::Add { value } else { -value };
                vec![Op::Add { to, from: to, offset }]
            }
            (Mnemonic::And, Some(register), None) if register == sp && immediate(1).is_some() => {
                let mask = immediate(1).unwrap_or_default();
                vec![Op::Align { register, to: -i64::from(low_half(mask)) }]
            }
            _ => self.other_ops(i),
        }
    }

    fn other_ops(&self, i: &iced_x86::Instruction) -> Vec<Op> {
        let mut ops = Vec::new();
        let moves = i.stack_pointer_increment();
        let transfers = matches!(
            i.flow_control(),
            FlowControl::Call | FlowControl::IndirectCall | FlowControl::Return
        ) && !pushes_its_address(i);
        if moves != 0 && !transfers {
            ops.push(Op::Move(i64::from(moves)));
        }
        let mut factory = InstructionInfoFactory::new();
        let info = factory.info_options(i, InstructionInfoOptions::NO_MEMORY_USAGE);
        for used in info.used_registers() {
            let writes = matches!(
                used.access(),
                OpAccess::Write
                    | OpAccess::CondWrite
                    | OpAccess::ReadWrite
                    | OpAccess::ReadCondWrite
            );
            let name = used.register();
            if writes && name.is_gpr() && (moves == 0 || number(name) != self.stack_pointer()) {
                ops.push(Op::Forget(number(name)));
            }
        }
        ops
    }
}

/// Whether this is a call of the next instruction, by which code finds its own address.
fn pushes_its_address(i: &iced_x86::Instruction) -> bool {
    i.flow_control() == FlowControl::Call
        && i.code() != Code::Syscall
        && i.near_branch_target() == i.next_ip()
}

impl Processor for X86 {
    fn decode(&self, image: &Image, at: u64) -> Option<Instruction> {
        let bytes = image.bytes(at)?;
        let mut decoder = Decoder::with_ip(self.bits, bytes, at, DecoderOptions::NONE);
        let i = decoder.decode();
        if i.is_invalid() {
            return None;
        }
        let flow = match i.flow_control() {
            FlowControl::UnconditionalBranch | FlowControl::IndirectBranch => {
                Flow::Jump(self.target(image, &i))
            }
            FlowControl::ConditionalBranch => Flow::Branch(i.near_branch_target()),
            FlowControl::Call if i.code() == Code::Syscall || pushes_its_address(&i) => Flow::Next,
            FlowControl::Call | FlowControl::IndirectCall
                if i.is_call_near() || i.is_call_near_indirect() =>
            {
                Flow::Call(self.target(image, &i))
            }
            FlowControl::Return => Flow::Return(i.try_immediate(0).unwrap_or(0)),
            FlowControl::Interrupt if i.mnemonic() != Mnemonic::Int => Flow::Stop,
            FlowControl::Exception => Flow::Stop,
            _ if i.mnemonic() == Mnemonic::Hlt => Flow::Stop,
            _ => Flow::Next,
        };
        let through = (i.op0_kind() == OpKind::Register && i.op0_register().is_gpr())
            .then(|| number(i.op0_register()));
        let atomic = i.has_lock_prefix()
            || i.mnemonic() == Mnemonic::Xchg
                && (i.op0_kind() == OpKind::Memory || i.op1_kind() == OpKind::Memory);
        let system_call =
            matches!(i.mnemonic(), Mnemonic::Syscall | Mnemonic::Sysenter | Mnemonic::Int);
        let mut text = String::new();
        GasFormatter::new().format(&i, &mut text);
        Some(Instruction {
            next: i.next_ip(),
            flow,
            through,
            ops: self.ops(&i),
            // `ops` forgets what is moved conditionally.
            conditional: false,
            computed: i.op0_kind() == OpKind::Memory && i.memory_index() != Name::None,
            atomic,
            system_call,
            text,
        })
    }

    fn stack_pointer(&self) -> Register {
        number(Name::RSP)
    }

    fn clobbered(&self) -> &[Register] {
        &self.clobbered
    }

    fn call_bytes(&self) -> i64 {
        i64::from(self.bits / 8)
    }
}

/// What of a sign-extended operand counts where registers have 32 bits.
#[allow(clippy::cast_possible_truncation)] // that is its point
fn low_half(value: i64) -> i32 {
    value as i32
}
