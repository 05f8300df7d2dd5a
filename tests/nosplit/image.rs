//! The built library: its code by address, its symbols, and where its linkage tables
//! lead.

use std::collections::{BTreeMap, HashMap};

use object::elf;
use object::read::elf::ElfFile;
use object::{
    Architecture, Object, ObjectSection, ObjectSymbol, ObjectSymbolTable, RelocationFlags,
    RelocationTarget, SymbolKind,
};

/// What a call or a jump leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// The library's own code.
    At(u64),
    /// A symbol of another library.
    Outside(String),
    /// The address in a register or in memory.
    Unknown,
}

/// A function: its symbol's address, bytes and demangled name.
#[derive(Clone, Debug)]
pub(crate) struct Function {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) name: String,
}

pub(crate) struct Image {
    pub(crate) arch: Architecture,
    shape: &'static Shape,
    code: Vec<(u64, Vec<u8>)>,
    functions: BTreeMap<u64, Function>,
    slots: HashMap<u64, Target>,
    stubs: HashMap<u64, Target>,
}

/// How an architecture's ELF files differ.
struct Shape {
    arch: Architecture,
    /// The relocation of an entry of the linkage table.
    jump_slot: elf::RelocationType,
    /// Bytes of the linkage table's head and of each entry, where the decoder does not read
    /// entries as code: they are in the order of their relocations.
    plt: Option<(u64, u64)>,
    /// The bit of a code address that is not part of it.
    mode_bit: u64,
}

const SHAPES: [Shape; 5] = [
    Shape {
        arch: Architecture::X86_64,
        jump_slot: elf::R_X86_64_JUMP_SLOT,
        plt: None,
        mode_bit: 0,
    },
    // psABI i386, "Procedure Linkage Table".
    Shape {
        arch: Architecture::I386,
        jump_slot: elf::R_386_JMP_SLOT,
        plt: Some((16, 16)),
        mode_bit: 0,
    },
    // The table is as GNU ld writes it. Bit 0 says "Thumb": ELF for the Arm Architecture,
    // "Symbol Values".
    Shape {
        arch: Architecture::Arm,
        jump_slot: elf::R_ARM_JUMP_SLOT,
        plt: Some((20, 12)),
        mode_bit: 1,
    },
    // The table is as GNU ld writes it without landing pads: bfd/elfnn-aarch64.c,
    // PLT_ENTRY_SIZE, PLT_SMALL_ENTRY_SIZE.
    Shape {
        arch: Architecture::Aarch64,
        jump_slot: elf::R_AARCH64_JUMP_SLOT,
        plt: Some((32, 16)),
        mode_bit: 0,
    },
    // RISC-V ELF psABI, "Procedure Linkage Table".
    Shape {
        arch: Architecture::Riscv64,
        jump_slot: elf::R_RISCV_JUMP_SLOT,
        plt: Some((32, 16)),
        mode_bit: 0,
    },
];

impl Image {
    pub(crate) fn read(bytes: &[u8]) -> Self {
        let class = bytes.get(4).copied().map(elf::FileClass);
        if class == Some(elf::ELFCLASS64) {
            let file: ElfFile<'_, elf::FileHeader64<object::Endianness>> =
                ElfFile::parse(bytes).expect("an ELF file of 64 bits");
            Self::from(&file)
        } else {
            let file: ElfFile<'_, elf::FileHeader32<object::Endianness>> =
                ElfFile::parse(bytes).expect("an ELF file of 32 bits");
            Self::from(&file)
        }
    }

    fn from<'data>(file: &impl Object<'data>) -> Self {
        let arch = file.architecture();
        let shape = SHAPES.iter().find(|shape| shape.arch == arch);
        let shape = shape.unwrap_or_else(|| panic!("no row in SHAPES for {arch:?}"));
        let mut code = Vec::new();
        for section in file.sections().filter(|s| s.kind() == object::SectionKind::Text) {
            let data = section.uncompressed_data().expect("code can be read").into_owned();
            code.push((section.address(), data));
        }
        let mut functions = BTreeMap::new();
        for symbol in file.symbols().chain(file.dynamic_symbols()) {
            let name = symbol.name().unwrap_or_default();
            // gcc gives no size to these: `mov (%esp), %reg; ret`.
            let size = if name.starts_with("__x86.get_pc_thunk") { 4 } else { symbol.size() };
            // A symbol without a size only marks a place for a debugger.
            if symbol.kind() != SymbolKind::Text || size == 0 {
                continue;
            }
            let start = symbol.address() & !shape.mode_bit;
            // Only one of Rust's two manglings has brackets.
            let name = format!("{:#}", rustc_demangle::demangle(name)).replace(['<', '>'], "");
            let larger = functions.get(&start).is_none_or(|f: &Function| f.end < start + size);
            if larger {
                functions.insert(start, Function { start, end: start + size, name });
            }
        }
        let mut image =
            Self { arch, shape, code, functions, slots: HashMap::new(), stubs: HashMap::new() };
        image.read_relocations(file);
        image
    }

    fn read_relocations<'data>(&mut self, file: &impl Object<'data>) {
        let mut jumps = Vec::new();
        for (at, relocation) in file.dynamic_relocations().into_iter().flatten() {
            let target = match relocation.target() {
                RelocationTarget::Symbol(index) => {
                    let table = file.dynamic_symbol_table().expect("relocations name symbols");
                    let symbol = table.symbol_by_index(index).expect("a symbol");
                    if symbol.is_definition() {
                        Target::At(symbol.address() & !self.shape.mode_bit)
                    } else {
                        Target::Outside(symbol.name().unwrap_or_default().into())
                    }
                }
                // Relative to the address the library is loaded at, which is 0 here.
                RelocationTarget::Absolute => {
                    let addend = match relocation.addend() {
                        0 => self.word(at).unwrap_or(0),
                        addend => addend.cast_unsigned(),
                    };
                    Target::At(addend & !self.shape.mode_bit)
                }
                _ => Target::Unknown,
            };
            let RelocationFlags::Elf { r_type } = relocation.flags() else { continue };
            if r_type == self.shape.jump_slot {
                jumps.push(target.clone());
            }
            self.slots.insert(at, target);
        }
        let plt = file.section_by_name(".plt").map(|section| section.address());
        if let Some(((head, entry), plt)) = self.shape.plt.zip(plt) {
            for (number, target) in jumps.into_iter().enumerate() {
                self.stubs.insert(plt + head + entry * number as u64, target);
            }
        }
    }

    /// A word among the code.
    fn word(&self, at: u64) -> Option<u64> {
        let bytes = self.bytes(at)?.get(..4)?;
        Some(u64::from(u32::from_le_bytes(bytes.try_into().ok()?)))
    }

    /// The code from an address onwards.
    pub(crate) fn bytes(&self, at: u64) -> Option<&[u8]> {
        let inside =
            |(start, bytes): &&(u64, Vec<u8>)| (*start..*start + bytes.len() as u64).contains(&at);
        let (start, bytes) = self.code.iter().find(inside)?;
        Some(&bytes[usize::try_from(at - start).ok()?..])
    }

    /// What the dynamic linker writes to this word.
    pub(crate) fn slot(&self, at: u64) -> Option<&Target> {
        self.slots.get(&at)
    }

    /// Where the linkage table's entry at this address leads.
    pub(crate) fn stub(&self, at: u64) -> Option<&Target> {
        self.stubs.get(&at)
    }

    /// The function that contains an address: the outermost, where symbols nest.
    pub(crate) fn function(&self, at: u64) -> Option<&Function> {
        let holds = |f: &&Function| (f.start..f.end).contains(&at);
        self.functions.range(..=at).map(|(_, f)| f).find(holds)
    }

    /// A function by its whole name.
    pub(crate) fn named(&self, name: &str) -> Option<&Function> {
        self.functions.values().find(|f| f.name == name)
    }

    pub(crate) fn name(&self, at: u64) -> String {
        self.function(at).map_or_else(|| format!("{at:#x}"), |f| f.name.clone())
    }
}
