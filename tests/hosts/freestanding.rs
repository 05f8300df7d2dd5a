//! The program that runs the bodies without a C library: `bodies NAME [emulated]` runs one,
//! and exits with 200 if all is well; without a NAME it lists them.
#![no_std]
#![no_main]

#[macro_use]
mod bodies;
mod foreign;
/// What the bodies need of their host.
mod host {
    pub(crate) use crate::foreign::*;
    pub(crate) use needm::host::{print, sleep};
}

use needm::host::Arguments;

needm::host::entry!(main);

fn main(mut arguments: Arguments) -> i32 {
    let name = arguments.nth(1).and_then(|name| name.to_str().ok());
    if arguments.next().is_some_and(|word| word == c"emulated") {
        host::set_emulated();
    }
    let body = bodies::ALL.iter().chain(foreign::ALL).find(|(known, _)| Some(*known) == name);
    let Some((_, body)) = body else {
        print_names();
        return 2;
    };
    body();
    200
}

fn print_names() {
    for (name, _) in bodies::ALL.iter().chain(foreign::ALL) {
        host::print(format_args!("{name}"));
    }
}
