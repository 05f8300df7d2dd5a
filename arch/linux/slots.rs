// SPDX-License-Identifier: MIT OR Apache-2.0
//! The arguments of a system call, typed: a value becomes a word in one place, widened as Linux
//! wants it, and a word for one slot goes into no other.

/// What is in slot `N` of a system call.
#[derive(Clone, Copy)]
pub(crate) struct Arg<const N: usize>(usize);

impl<const N: usize> Arg<N> {
    fn new(value: impl Value) -> Self {
        Self(value.word())
    }

    /// The word for the register that this slot has on each architecture.
    pub(crate) fn word(self) -> usize {
        self.0
    }
}

/// All six slots; those that a call does not have are 0.
#[derive(Clone, Copy)]
pub(crate) struct Slots {
    pub(crate) a0: Arg<0>,
    pub(crate) a1: Arg<1>,
    pub(crate) a2: Arg<2>,
    pub(crate) a3: Arg<3>,
    pub(crate) a4: Arg<4>,
    pub(crate) a5: Arg<5>,
}

impl Slots {
    const NONE: Self =
        Self { a0: Arg(0), a1: Arg(0), a2: Arg(0), a3: Arg(0), a4: Arg(0), a5: Arg(0) };
}

/// What a system call may be given.
pub(crate) trait Value {
    fn word(self) -> usize;
}

/// A size, an address, or flags.
impl Value for usize {
    fn word(self) -> usize {
        self
    }
}

/// An unsigned int: widened with zeros.
impl Value for u32 {
    fn word(self) -> usize {
        self as usize
    }
}

/// An int: widened with its sign.
impl Value for i32 {
    #[allow(clippy::cast_sign_loss)] // Linux takes the bits
    fn word(self) -> usize {
        self as isize as usize
    }
}

impl<T> Value for *const T {
    fn word(self) -> usize {
        self as usize
    }
}

impl<T> Value for *mut T {
    fn word(self) -> usize {
        self as usize
    }
}

/// What Linux reads.
impl<T> Value for &T {
    fn word(self) -> usize {
        core::ptr::from_ref(self) as usize
    }
}

/// What Linux writes.
impl<T> Value for &mut T {
    fn word(self) -> usize {
        core::ptr::from_mut(self) as usize
    }
}

/// What Linux reads if it is there.
impl<T> Value for Option<&T> {
    fn word(self) -> usize {
        self.map_or(0, Value::word)
    }
}

macro_rules! slots {
    ($($slot:ident: $type:ident),*) => {
        impl<$($type: Value),*> From<($($type,)*)> for Slots {
            #[allow(clippy::needless_update)] // six are all
            fn from(($($slot,)*): ($($type,)*)) -> Self {
                Self { $($slot: Arg::new($slot),)* ..Self::NONE }
            }
        }
    };
}

slots! {}
slots! { a0: A }
slots! { a0: A, a1: B }
slots! { a0: A, a1: B, a2: C }
slots! { a0: A, a1: B, a2: C, a3: D }
slots! { a0: A, a1: B, a2: C, a3: D, a4: E, a5: F }
