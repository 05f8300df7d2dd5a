//! Sequences of operations on the kernel, against a model of what must be true after each.
//! README.md says how it is used and what it knows.

mod model;
mod operation;
mod run;
mod worker;

pub use model::Wrong;
pub use operation::{Case, Config, KINDS, Kind, LONGEST, Operation, THREADS};
pub use run::{Done, Run, run};

// The C side refers to its C interface.
use needm as _;
