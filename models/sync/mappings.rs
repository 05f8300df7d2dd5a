//! Memory that the model system maps: from one place, one after the other, and no address twice
//! in an execution. loom looks that no thread uses a mapping at once with its end.

use super::words;
use core::cell::{Cell, RefCell};
use loom::cell::UnsafeCell;
use std::alloc::{Layout, alloc_zeroed};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::vec::Vec;

/// Where a word is, whatever was mapped before.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Place {
    /// In a static, at this address.
    Static(usize),
    /// So far from the start of a mapping.
    Mapped(Which, usize),
}

/// Which mapping of an execution: its bytes, and how many of as many bytes came before it. So two
/// tables whose rows take equally much are told apart.
pub(crate) type Which = (usize, usize);

impl Place {
    pub(crate) fn is_static(self) -> bool {
        matches!(self, Self::Static(_))
    }

    pub(crate) fn is_in(self, which: Which) -> bool {
        matches!(self, Self::Mapped(of, _) if of == which)
    }

    /// Its address, in a mapping that starts there.
    pub(crate) fn address(self, start: usize) -> usize {
        match self {
            Self::Static(address) => address,
            Self::Mapped(_, offset) => start + offset,
        }
    }
}

/// Read by what uses the memory, written by what unmaps it.
type Access = Rc<UnsafeCell<()>>;

struct Mapping {
    which: Which,
    /// Whether it may hold words: not if it is mapped without access.
    words: bool,
    access: Access,
}

/// Bytes that one execution may map.
const ALL: usize = 64 << 20;
const PAGE: usize = 4096;

std::thread_local! {
    static START: usize = {
        let layout = Layout::from_size_align(ALL, PAGE).expect("a few megabytes");
        // SAFETY: it is of some size.
        unsafe { alloc_zeroed(layout) }.expose_provenance()
    };
    static NEXT: Cell<usize> = const { Cell::new(0) };
    static MAPPINGS: RefCell<BTreeMap<usize, Mapping>> = const { RefCell::new(BTreeMap::new()) };
    /// How many mappings of so many bytes there were.
    static COUNTS: RefCell<BTreeMap<usize, usize>> = const { RefCell::new(BTreeMap::new()) };
    static USES: RefCell<BTreeMap<usize, Access>> = const { RefCell::new(BTreeMap::new()) };
}

/// Begins an execution: nothing is mapped.
pub(super) fn fresh() {
    NEXT.set(0);
    MAPPINGS.take();
    COUNTS.take();
    USES.take();
}

/// Maps some bytes; `words`: zeros that may be used at once.
pub(crate) fn map(len: usize, words: bool) -> usize {
    let start = START.with(|start| *start) + NEXT.get();
    NEXT.set(NEXT.get() + len.next_multiple_of(PAGE) + PAGE);
    assert!(NEXT.get() <= ALL, "the model's memory is used up");
    if words {
        // SAFETY: inside the allocation, and nothing has it.
        unsafe { core::ptr::write_bytes(start as *mut u8, 0, len) };
    }
    let which = COUNTS.with_borrow_mut(|counts| {
        let count = counts.entry(len).or_default();
        *count += 1;
        (len, *count - 1)
    });
    let mapping = Mapping { which, words, access: Rc::new(UnsafeCell::new(())) };
    MAPPINGS.with_borrow_mut(|mappings| mappings.insert(start, mapping));
    if words && !words::is_alone() {
        words::mapped(start, which);
    }
    start
}

/// Unmaps what was mapped there.
pub(crate) fn unmap(start: usize, len: usize) {
    let mapping = MAPPINGS.with_borrow_mut(|mappings| mappings.remove(&start));
    let mapping = mapping.expect("it is mapped");
    assert_eq!(mapping.which.0, len, "a mapping is unmapped as a whole");
    mapping.access.with_mut(|_| ());
}

/// Runs `work` with each mapping that may hold words.
pub(super) fn each(work: fn(usize, Which)) {
    let all: Vec<_> = MAPPINGS.with_borrow(|mappings| {
        mappings.iter().filter(|(_, m)| m.words).map(|(start, m)| (*start, m.which)).collect()
    });
    all.into_iter().for_each(|(start, which)| work(start, which));
}

fn find(address: usize) -> Option<(usize, Which, Access)> {
    let first = START.with(|start| *start);
    if !(first..first + ALL).contains(&address) {
        return None;
    }
    MAPPINGS.with_borrow(|mappings| {
        let (start, mapping) = mappings.range(..=address).next_back()?;
        assert!(address - start < mapping.which.0, "{address:#x} is not mapped any more");
        Some((address - start, mapping.which, Rc::clone(&mapping.access)))
    })
}

/// Where a word is that a thread is about to use.
pub(super) fn place(address: usize) -> Place {
    match find(address) {
        Some((offset, which, access)) => {
            access.with(|_| ());
            Place::Mapped(which, offset)
        }
        None => Place::Static(address),
    }
}

/// Uses a mapping as only one thread may at a time.
pub(crate) fn use_alone(address: usize) {
    let (.., access) = find(address).expect("it is mapped");
    access.with_mut(|_| ());
}

/// Something that is not a mapping, known by its address.
fn thing(address: usize) -> Access {
    USES.with_borrow_mut(|uses| {
        Rc::clone(uses.entry(address).or_insert_with(|| Rc::new(UnsafeCell::new(()))))
    })
}

/// Uses it as only one thread may at a time.
pub(crate) fn use_thing_alone(address: usize) {
    thing(address).with_mut(|_| ());
}

/// Uses it as many may at a time.
pub(crate) fn read_thing(address: usize) {
    thing(address).with(|_| ());
}
