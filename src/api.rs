//! The Rust interface (being written).
