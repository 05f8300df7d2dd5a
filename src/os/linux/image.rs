// SPDX-License-Identifier: MIT OR Apache-2.0
//! The program's thread-local storage: what each thread has a copy of, found in the
//! program headers, and how it is laid out around a thread pointer
//! (ELF Handling For Thread-Local Storage, 3 "Run-Time Handling of TLS").
//!
//! For threads that no C library makes. The program is static, so there is one image only.

use core::ptr;

use super::{ENOEXEC, Errno, memory};
use crate::arch::linux::thread::{TCB, TCB_SELF, TLS_ABOVE};

// The linker defines __ehdr_start as the address of the ELF header, if a segment has it.
crate::arch::weak_table!("needm_ehdr": hidden "__ehdr_start");

unsafe extern "C" {
    #[link_name = "needm_ehdr"]
    safe static ELF_HEADER: Option<&'static Header>;
}

/// `ELFMAG` (include/uapi/linux/elf.h), as a number: comparing bytes may become a call of
/// `bcmp`, which a program without a C library has not got.
const MAGIC: u32 = u32::from_ne_bytes(*b"\x7fELF");

/// `Elf32_Ehdr`, `Elf64_Ehdr` (include/uapi/linux/elf.h), as far as is needed.
#[repr(C)]
struct Header {
    magic: u32,
    ident: [u8; 12],
    kind: u16,
    machine: u16,
    version: u32,
    entry: usize,
    phoff: usize,
    shoff: usize,
    flags: u32,
    ehsize: u16,
    phentsize: u16,
    phnum: u16,
}

/// `Elf64_Phdr` (include/uapi/linux/elf.h).
#[cfg(target_pointer_width = "64")]
#[repr(C)]
struct Segment {
    kind: u32,
    flags: u32,
    offset: usize,
    vaddr: usize,
    paddr: usize,
    filesz: usize,
    memsz: usize,
    align: usize,
}

/// `Elf32_Phdr`, which has the same in another order.
#[cfg(target_pointer_width = "32")]
#[repr(C)]
struct Segment {
    kind: u32,
    offset: usize,
    vaddr: usize,
    paddr: usize,
    filesz: usize,
    memsz: usize,
    flags: u32,
    align: usize,
}

const PT_LOAD: u32 = 1;
const PT_TLS: u32 = 7;

/// Why no thread can be made in this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// The ELF header and the program headers are in no segment.
    NoHeaders,
    /// There is no `PT_TLS`.
    NoTls,
    /// Its alignment is none, or more than a page.
    Alignment,
}

impl Flaw {
    #[cfg(feature = "freestanding")]
    /// In words; `linker/README.md` has the remedies.
    pub(super) fn meaning(self) -> &'static str {
        match self {
            Self::NoHeaders => "the program headers are in no segment of the program",
            Self::NoTls => "the program has no thread-local segment (PT_TLS)",
            Self::Alignment => "the thread-local segment's alignment makes no sense",
        }
    }
}

/// The thread-local storage that each thread has a copy of.
#[derive(Clone, Copy)]
pub(crate) struct Image {
    start: *const u8,
    file_len: usize,
    len: usize,
    align: usize,
}

/// `value` rounded up to a power of two.
fn up(value: usize, align: usize) -> usize {
    (value + align - 1) & !(align - 1)
}

impl Image {
    /// This program's; `ENOEXEC` if its headers do not describe any.
    pub(crate) fn find() -> Result<Self, Errno> {
        Self::look().map_err(|_| ENOEXEC)
    }

    /// This program's, or what is wrong with it.
    pub(super) fn look() -> Result<Self, Flaw> {
        let header = ELF_HEADER.filter(|header| header.magic == MAGIC);
        let header = header.ok_or(Flaw::NoHeaders)?;
        let base = ptr::from_ref(header) as usize;
        let segments = || {
            (0..usize::from(header.phnum)).map(|index| {
                let at = base + header.phoff + index * usize::from(header.phentsize);
                // SAFETY: the linker puts the program headers right behind the ELF
                // header, in the same segment: Linux asks for both there, too.
                unsafe { &*(at as *const Segment) }
            })
        };
        // The segment that the header is in says how far off its addresses the program
        // was loaded.
        let own = segments().find(|segment| segment.kind == PT_LOAD && segment.offset == 0);
        let own = own.ok_or(Flaw::NoHeaders)?;
        let tls = segments().find(|segment| segment.kind == PT_TLS).ok_or(Flaw::NoTls)?;
        let align = tls.align.max(1);
        if !align.is_power_of_two() || align > memory::page_size() {
            return Err(Flaw::Alignment);
        }
        let start = base.wrapping_sub(own.vaddr).wrapping_add(tls.vaddr) as *const u8;
        Ok(Self { start, file_len: tls.filesz, len: tls.memsz, align })
    }

    /// What a copy must be aligned to, with the bytes at the thread pointer.
    pub(crate) fn align(&self) -> usize {
        self.align.max(TCB.next_power_of_two())
    }

    /// Bytes of a copy, with the bytes at the thread pointer.
    pub(crate) fn bytes(&self) -> usize {
        up(self.len, self.align()) + up(TCB, self.align())
    }

    /// Makes a copy at `area`; the thread pointer that belongs to it.
    ///
    /// # Safety
    /// [`bytes`](Self::bytes) there, so aligned, are the caller's and nothing's yet.
    pub(crate) unsafe fn copy_to(&self, area: *mut u8) -> usize {
        let (pointer, block) = if TLS_ABOVE {
            (area, area.wrapping_add(up(TCB, self.align)))
        } else {
            let pointer = area.wrapping_add(up(self.len, self.align()));
            (pointer, pointer.wrapping_sub(up(self.len, self.align)))
        };
        // SAFETY: both parts lie within the area, since its alignment is no less than
        // the image's; the image is as long as its segment says.
        unsafe {
            area.write_bytes(0, self.bytes());
            ptr::copy_nonoverlapping(self.start, block, self.file_len);
            if TCB_SELF {
                #[allow(clippy::cast_ptr_alignment)] // the block is aligned for the image
                pointer.cast::<usize>().write(pointer as usize);
            }
        }
        pointer as usize
    }

    /// Whether `address` is in the copy around `pointer`.
    #[cfg(feature = "freestanding")]
    pub(super) fn holds(&self, pointer: usize, address: usize) -> bool {
        let block = if TLS_ABOVE {
            pointer + up(TCB, self.align)
        } else {
            pointer - up(self.len, self.align)
        };
        (block..block + self.len).contains(&address)
    }
}
