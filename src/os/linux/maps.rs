// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where a thread's own stack is, and which mapping contains an address, from `/proc/self/maps`
//! (proc_pid_maps(5)). Without a C library nothing else says so. Where that file cannot be read, the
//! upper end of a thread's own stack is known all the same, and Linux says from where on up to there
//! memory is without a gap.
//!
//! Reading it takes tens of microseconds. That is done where C has jumped out of callbacks, for the
//! stack, at most once a thread, and where code runs on a stack that needm does not know, for stack
//! and mapping (`reconcile.rs`).

use core::cell::Cell;
use core::ffi::CStr;
use core::ops::Range;
use core::ptr;

use super::{call, ids, libc, memory, robust_list, signal, spares_calls};
use crate::arch::linux::nr;
use crate::arch::needm_sp;
use crate::sync::{AtomicBool, AtomicU32, AtomicUsize, Relaxed};

/// `AT_FDCWD` (include/uapi/linux/fcntl.h): what `openat` ignores for a full path.
const AT_FDCWD: i32 = -100;
/// `O_CLOEXEC` (include/uapi/asm-generic/fcntl.h); O_RDONLY is 0.
const O_CLOEXEC: usize = 0o2_000_000;

/// What Linux keeps free below the first thread's stack for it to grow into, at
/// least (`MIN_GAP` in mm/util.c and arch/x86/mm/mmap.c).
const MAIN_ROOM: usize = 128 << 20;

/// This process was forked by a thread with a stack like any other's, which has the process's ID now.
static FORKED_BY_ANOTHER: AtomicBool = AtomicBool::new(false);

/// In a forked child: notes which stack this thread has, if it is not on one of the host's. `block`
/// is as in [`own_stack`].
pub(crate) fn fork_child(block: usize) {
    // Under an emulator the first thread's stack may have libraries right above it, up to the block.
    let on_stack_to = |end| is_own_stack_down_to(needm_sp(), end);
    if !on_stack_to(FIRST_STACK_END.load(Relaxed)) && on_stack_to(block) {
        FORKED_BY_ANOTHER.store(true, Relaxed);
    }
}

/// Whether this thread has the stack that the process was started with.
fn is_first() -> bool {
    ids::current() == ids::process() && !FORKED_BY_ANOTHER.load(Relaxed)
}

/// The first thread's is in memory that may have other neighbours.
pub(crate) fn has_block_on_its_stack() -> bool {
    !is_first()
}

/// The stack that the system, or the C library, gave this thread. `block` is an
/// address in its thread-local storage, which C libraries put at the stack's top.
///
/// A mapping may hold more than one stack: those of fibers, right below the thread's own, become one mapping
/// with it if that has no guard. So its start is the stack's only if a guard ends there; glibc knows
/// better. Else nothing is known of the stack, and it is empty.
pub(crate) fn own_stack(block: usize) -> Option<Range<usize>> {
    let main = is_first();
    // Under an emulator other mappings may lie in that room: then the stack may grow to the last of
    // them.
    let below = Cell::new(0);
    let guard = Cell::new(0..0);
    find(|line| {
        if main {
            let least = line.end.saturating_sub(MAIN_ROOM).max(below.replace(line.end));
            return line.is_first_stack().then_some(least..line.end);
        }
        let mapping = line.start..line.end;
        if !mapping.contains(&block) {
            if line.access == NO_ACCESS {
                guard.set(mapping);
            }
            return None;
        }
        let guard = guard.take();
        let guarded = guard.end == line.start;
        let from = if guarded { guard.start } else { line.start };
        let kept = noted_start(block, &mapping, from).map(|kept| kept.max(line.start));
        let start = kept.unwrap_or(if guarded { line.start } else { block });
        Some(start..block)
    })
}

/// The stack of this thread, with its guard, as glibc keeps it after the robust head (`struct pthread`
/// in nptl/descr.h): an address, then a size. Where in `places` that is, too. The first thread's is not noted.
///
/// Each place is aligned, and two words there can be read. What is read proves itself: there is no other pair that
/// `is_it` holds for.
fn noted_stack(
    mut places: impl Iterator<Item = usize>,
    is_it: impl Fn(&Range<usize>) -> bool,
) -> Option<(usize, Range<usize>)> {
    let read = |at: usize| {
        // SAFETY: the callers give aligned addresses, in the page or the mapping that this thread's own
        // thread-local storage is in, which so can be read, and stays while the thread runs. Volatile: where it
        // is not glibc's, other threads may write there. Then the value is only compared.
        unsafe { ptr::with_exposed_provenance::<usize>(at).read_volatile() }
    };
    places.find_map(|at| {
        let start = read(at);
        let stack = start..start.checked_add(read(at + size_of::<usize>()))?;
        is_it(&stack).then_some((at, stack))
    })
}

/// From the robust head to the thread's stack in glibc's record of a thread, at most, in words: there are
/// 1024 bytes and less between the two.
const STACK_AFTER_HEAD: usize = 160;

/// Where the stack of this thread begins, as glibc notes it. `mapping` is the one that `block` is in, and `guard`
/// begins the inaccessible one right below it, or is the mapping's start: the stack begins there, below `block`, and
/// ends in the mapping, above both `block` and the head.
fn noted_start(block: usize, mapping: &Range<usize>, guard: usize) -> Option<usize> {
    let head = robust_list::robust_head_of(block)?.addr();
    let word = size_of::<usize>();
    if !mapping.contains(&head) || !head.is_multiple_of(word) {
        return None;
    }
    let end = mapping.end.min(head + STACK_AFTER_HEAD * word);
    let holds_both = |stack: &Range<usize>| {
        (guard..block).contains(&stack.start)
            && stack.end > head.max(block)
            && stack.end <= mapping.end
    };
    noted_stack((head..end - word).step_by(word), holds_both).map(|(_, stack)| stack.start)
}

/// From the end of a thread's stack down to the robust head, and to needm's block: glibc has only its
/// record and thread-local storage there.
const HEAD_BELOW_END: usize = 64 * 1024;

/// No stack is larger, and no pointer as small as the size of one.
const LARGEST_STACK: usize = 1 << 30;

/// How far after the robust head glibc notes a thread's stack, in bytes, once that was found; 0 before.
static NOTE_AFTER_HEAD: AtomicUsize = AtomicUsize::new(0);

/// In how many threads it was looked for, and after how many no more is.
static SEARCHES: AtomicU32 = AtomicU32::new(0);
const MOST_SEARCHES: u32 = 4;

/// The stack of this thread, as glibc notes it, without a system call: if the note is in one page with `block`, and
/// head and block are right below the stack's end. The head may have entries.
fn stack_noted_nearby(block: usize) -> Option<Range<usize>> {
    let head = robust_list::head_place(block).filter(|_| libc::is_glibc())?.addr();
    let (word, top) = (size_of::<usize>(), head.max(block));
    let page_end = (block & !(robust_list::SMALLEST_PAGE - 1)) + robust_list::SMALLEST_PAGE;
    let is_around = |stack: &Range<usize>| {
        let (start, end, size) = (stack.start, stack.end, stack.end - stack.start);
        (start | size).is_multiple_of(word)
            && (start != 0 && start < head.min(block) && size < LARGEST_STACK)
            && (end > top && end - top <= HEAD_BELOW_END)
    };
    let places = (head..page_end - word).step_by(word);
    match NOTE_AFTER_HEAD.load(Relaxed) {
        0 if SEARCHES.load(Relaxed) >= MOST_SEARCHES => None,
        0 => {
            SEARCHES.fetch_add(1, Relaxed);
            let (at, stack) = noted_stack(places, is_around)?;
            NOTE_AFTER_HEAD.store(at - head, Relaxed);
            Some(stack)
        }
        after => {
            let place = places.skip(after / word).take(1);
            noted_stack(place, is_around).map(|(_, stack)| stack)
        }
    }
}

/// What [`is_own_stack_down_to`] looks at, at most: there a system call costs a page.
const FARTHEST: usize = 64 << 20;

/// Where Linux has put random bytes, above all frames of the first thread (getauxval(3)); 0 if that is
/// not known.
static FIRST_STACK_END: AtomicUsize = AtomicUsize::new(0);

/// What of the first thread's stack, below [`FIRST_STACK_END`], surely is no other mapping: no limit makes
/// a stack smaller, and Linux keeps more free below (`MAIN_ROOM`).
const FIRST_STACK_LEAST: usize = 128 * 1024;

/// The part of this thread's own stack that `address` is on, if that is known without a system call:
/// glibc notes the stacks of its threads, `found` is what [`own_stack`] has found before, and
/// the first thread's ends at [`FIRST_STACK_END`].
pub(crate) fn known_own_part(
    block: usize,
    address: usize,
    found: Range<usize>,
) -> Option<Range<usize>> {
    let end = FIRST_STACK_END.load(Relaxed);
    let first = end.saturating_sub(FIRST_STACK_LEAST)..end;
    if first.contains(&address) {
        return Some(first);
    }
    let part = stack_noted_nearby(block).unwrap_or(found);
    part.contains(&address).then_some(part)
}

/// Notes where the first thread's stack ends.
pub(crate) fn note_first_stack() {
    FIRST_STACK_END.store(libc::auxiliary(libc::AT_RANDOM).unwrap_or(0), Relaxed);
}

/// An address at the upper end of the stack that this thread was given, above all frames. `block` is
/// as in [`own_stack`].
pub(crate) fn own_stack_end(block: usize) -> Option<usize> {
    Some(if is_first() { FIRST_STACK_END.load(Relaxed) } else { block }).filter(|end| *end != 0)
}

/// Whether memory from `address` to `end`, which is above frames of this thread's own stack, has no gap.
/// Below a stack there is one, its guard, so that the address is on it then.
pub(crate) fn is_own_stack_down_to(address: usize, end: usize) -> bool {
    let mut page = address & !(memory::page_size() - 1);
    if address >= end || end - address > FARTHEST {
        return false;
    }
    while page < end && signal::can_read(page) {
        page += memory::page_size();
    }
    page >= end
}

/// The mapping that an address is in, unless that is the first thread's stack. Where nothing may be
/// touched, with what is above: an address in the guard of a stack counts as on that stack.
pub(crate) fn mapping(address: usize) -> Option<Range<usize>> {
    let guard = Cell::new((0, 0));
    find(|line| {
        let (start, end) = guard.get();
        let (follows, may_be_touched) = (line.start == end, line.access != NO_ACCESS);
        if end == 0 {
            let there = (line.start..line.end).contains(&address) && !line.is_first_stack();
            if there && !may_be_touched {
                guard.set((line.start, line.end));
            }
            return (there && may_be_touched).then_some(line.start..line.end);
        }
        if follows && !may_be_touched {
            guard.set((start, line.end));
            return None;
        }
        Some(start..if follows { line.end } else { end })
    })
}

/// The inaccessible mapping that ends at `end`.
pub(crate) fn guard_below(end: usize) -> Option<Range<usize>> {
    find(|line| (line.end == end && line.access == NO_ACCESS).then_some(line.start..line.end))
}

/// Calls `wanted` with each line until it returns a range; that range.
///
/// `/proc/self` is the first thread's. Once that has exited, its `maps` is empty, and `/proc/thread-self` has
/// the lines. But that is younger (Linux 3.17), and an emulator may show its own there.
fn find(wanted: impl Fn(&Line) -> Option<Range<usize>>) -> Option<Range<usize>> {
    if spares_calls() {
        return None;
    }
    for path in [c"/proc/self/maps", c"/proc/thread-self/maps"] {
        let mut found = None;
        let has_lines = read(path, |line| {
            found = wanted(line);
            found.is_none()
        });
        if has_lines {
            return found;
        }
    }
    None
}

/// Calls `goes_on` with each line of a file until it says no. Whether there is a line.
fn read(path: &CStr, mut goes_on: impl FnMut(&Line) -> bool) -> bool {
    // SAFETY: the path is a C string; opening a file touches nothing of ours.
    let file = unsafe { call(nr::OPENAT, (AT_FDCWD, path.as_ptr(), O_CLOEXEC, 0_usize)) };
    let Ok(file) = file else { return false };
    let mut has_lines = false;
    let mut line = Line::default();
    let mut buffer = [0_u8; 256];
    'file: loop {
        // SAFETY: Linux writes no more than the buffer holds.
        let read = unsafe { call(nr::READ, (file, buffer.as_mut_ptr(), buffer.len())) };
        let Some(bytes) = read.ok().filter(|n| *n != 0).and_then(|n| buffer.get(..n)) else {
            break;
        };
        for byte in bytes {
            if *byte != b'\n' {
                line.take(*byte);
                continue;
            }
            has_lines = true;
            if !goes_on(&line) {
                break 'file;
            }
            line = Line::default();
        }
    }
    // SAFETY: it was opened above.
    let _ = unsafe { call(nr::CLOSE, (file,)) };
    has_lines
}

/// What matters of a line, as it is read: the range, and the end of the name.
#[derive(Default)]
struct Line {
    start: usize,
    end: usize,
    /// Where the next byte belongs: 0 the range's start, 1 its end, 2 the access, 3 the name, 4 what
    /// lies between.
    field: u32,
    /// The first three bytes of the second field, as a number.
    access: u32,
    /// Its last eight bytes, as a number: comparing bytes may become a call of `bcmp`,
    /// which a host without a C library has not got.
    name: u64,
}

/// The access of a guard.
const NO_ACCESS: u32 = u32::from_be_bytes(*b"\0---");

/// The name of the first thread's stack.
const STACK: u64 = u64::from_be_bytes(*b"\0[stack]");

impl Line {
    /// Whether this is the first thread's stack. Under valgrind another one has the name.
    fn is_first_stack(&self) -> bool {
        match FIRST_STACK_END.load(Relaxed) {
            0 => self.name == STACK,
            end => (self.start..self.end).contains(&end),
        }
    }

    // No `match`, of which the compiler would make a jump through a table: tests/nosplit follows
    // none.
    fn take(&mut self, byte: u8) {
        if self.field < 2 {
            if byte == if self.field == 0 { b'-' } else { b' ' } {
                self.field += 1;
                return;
            }
            let digit = (byte as char).to_digit(16).unwrap_or(0) as usize;
            let number = if self.field == 0 { &mut self.start } else { &mut self.end };
            *number = number.wrapping_mul(16).wrapping_add(digit);
        } else if self.field == 2 {
            // The fourth byte of the access: private or shared.
            if byte == b'p' || byte == b's' {
                self.field = 4;
            } else {
                self.access = self.access << 8 | u32::from(byte);
            }
        } else if byte == b'[' || self.field == 3 {
            // Names of interest start with a bracket, which no field before has.
            self.field = 3;
            self.name = self.name << 8 | u64::from(byte);
        }
    }
}
