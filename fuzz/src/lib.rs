//! Sequences of operations on needm, compared with a model of what must be true after each.
//! `README.md` says how to run it and what the model knows.

#[path = "../../tests/arch/table.rs"]
mod arch;
mod model;
mod operation;
mod run;
mod worker;

pub use model::Wrong;
pub use operation::{Case, Config, KINDS, Kind, LONGEST, Operation, THREADS};
pub use run::{Done, Run, run};

// The C side calls its C interface.
use needm as _;
