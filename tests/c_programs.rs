//! The programs of `tests/c`, each compiled against the C libraries and run: natively,
//! or under an emulator. `tests/README.md` says what each shows, `tests/common/mod.rs` which
//! environment they take.

mod common;

#[path = "c_programs/cpp.rs"]
mod cpp;

#[path = "c_programs/names.rs"]
mod names;

#[path = "c_programs/sanitizers.rs"]
mod sanitizers;

#[path = "c_programs/musl.rs"]
mod musl;

#[path = "c_programs/unwinding.rs"]
mod unwinding;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{arch, c_compiler, command, libraries, manner, root, run_to_success, runner, scratch};

/// How a program is linked.
#[derive(Clone, Copy)]
enum Link {
    Archive,
    Shared,
    /// Not at all: the program loads the library itself.
    Nothing,
}

/// Where the program of `test` goes.
fn program_of(test: &str) -> PathBuf {
    scratch(&format!("{test}-{}", manner()))
}

/// The program `name`, compiled for `test`.
fn compile(test: &str, name: &str, link: Link) -> PathBuf {
    compile_with(test, name, link, &[], &[])
}

/// The same, with `first` words for the compiler, and `last` ones for the linker.
fn compile_with(test: &str, name: &str, link: Link, first: &[&str], last: &[&str]) -> PathBuf {
    // Without this the C library loads the unwinder when it needs it, from a place where a
    // cross compiler has none.
    let last: Vec<&str> = ["-Wl,--no-as-needed", "-lgcc_s"].iter().chain(last).copied().collect();
    compile_by(&c_compiler(), test, name, link, first, &last)
}

/// The same by another compiler, and without the unwinder.
fn compile_by(
    compiler: &OsStr,
    test: &str,
    name: &str,
    link: Link,
    first: &[&str],
    last: &[&str],
) -> PathBuf {
    let program = program_of(test);
    let mut cc = Command::new(compiler);
    cc.args(["-O2", "-g", "-Wall", "-Wno-infinite-recursion", "-funwind-tables", "-rdynamic"]);
    cc.args(first).arg("-I").arg(root().join("include"));
    cc.arg(root().join(format!("tests/c/{name}.c")));
    match link {
        Link::Archive => {
            cc.arg(libraries().join("libneedm.a"));
        }
        Link::Shared => {
            let folder = libraries().display();
            cc.arg(format!("-L{folder}")).arg(format!("-Wl,-rpath,{folder}")).arg("-lneedm");
        }
        Link::Nothing => {
            cc.arg("-ldl");
        }
    }
    common::compile(cc.args(last).arg("-pthread").arg("-o").arg(&program));
    program
}

/// A program that does not link the unwinder. Only this machine's C library finds one to load.
#[test]
fn callbacks_end_where_the_c_library_loads_the_unwinder() {
    let test = "callbacks_end_where_the_c_library_loads_the_unwinder";
    if common::is_emulated() || arch::own().rust != std::env::consts::ARCH {
        println!("skipped: a cross compiler has none in a place that the loader knows");
        return;
    }
    let compiler = c_compiler();
    run(&compile_by(&compiler, test, "exit_without_unwinder", Link::Archive, &[], &[]), &[]);
}

/// Runs a program with each size of pages that the architecture may have, which an emulator
/// can be told.
#[test]
fn pages_may_be_larger() {
    let sizes = arch::own().pages;
    let words = runner();
    let Some((emulator, rest)) = words.split_first().filter(|_| sizes.len() > 1) else {
        println!("skipped: one size of pages, or no emulator that can be told of another");
        return;
    };
    for name in ["registers", "endings", "pool", "signal_stack", "spawn", "world"] {
        let program = compile(&format!("pages_may_be_larger_{name}"), name, Link::Archive);
        for size in sizes {
            let mut command = Command::new(emulator);
            command.args(["-p", &size.to_string()]).args(rest).arg(&program);
            run_to_success(&mut command, &program.with_extension(format!("{size}.log")));
        }
    }
}

fn run(program: &Path, arguments: &[&str]) {
    run_to_success(command(program).args(arguments), &program.with_extension("log"));
}

/// Of `needm.h`: what programs are run with as well, by a variable that `tests/c/check.h` reads.
const LEAVE_FP_CONTROL: &str = "4";

/// Programs with [`LEAVE_FP_CONTROL`].
macro_rules! programs_that_leave_fp_control {
    ($($test:ident = $name:literal [$($argument:literal),*];)*) => {
        mod without_fp_control {
            use super::{LEAVE_FP_CONTROL, Link, command, compile, run_to_success};
            $(#[test]
            fn $test() {
                let test = concat!("without_fp_control_", stringify!($test));
                let program = compile(test, $name, Link::Archive);
                let mut command = command(&program);
                command.env("NEEDM_FLAGS", LEAVE_FP_CONTROL).args(&[$($argument),*] as &[&str]);
                run_to_success(&mut command, &program.with_extension("log"));
            })*
        }
    };
}

programs_that_leave_fp_control! {
    registers_are_preserved = "registers" [];
    registers_are_preserved_per_call = "registers" ["call"];
    the_state_of_the_host_is_preserved = "host_state" [];
    endings = "endings" [];
    endings_per_call = "endings" ["call"];
    faults_of_every_kind_are_errors = "fault_kinds" [];
    a_longjmp_past_callbacks_loses_nothing = "longjmp" [];
    a_longjmp_past_callbacks_loses_nothing_per_call = "longjmp" ["call"];
    protection_keys_are_kept = "protection_keys" [];
    fibers_call_back = "fibers" [];
    callbacks_survive_stops_and_starts = "start_stop" [];
    callbacks_survive_stops_and_starts_per_call = "start_stop" ["call"];
    later_callbacks_make_no_system_call = "no_system_calls" [];
    the_world_stops = "world" [];
    the_world_stops_per_call = "world" ["call"];
    signals_interrupt_callbacks = "signals_during_callbacks" [];
    backtraces_are_whole = "backtrace" [];
    handlers_may_call_back_at_any_instruction = "single_step" [];
    handlers_wait_where_their_thread_does = "single_step_gate" [];
    jumps_out_of_callbacks_of_handlers_lose_nothing = "single_step_jumps" [];
    jumps_out_of_callbacks_of_handlers_lose_nothing_per_call = "single_step_jumps" ["call"];
    handlers_may_call_back_at_any_instruction_per_call = "single_step" ["call"];
    jumps_out_of_needm_leave_no_m_bound = "single_step_leaves" [];
    jumps_out_of_needm_leave_no_m_bound_per_call = "single_step_leaves" ["call"];
    what_dead_threads_had_is_not_lost_a_second_time = "single_step_reaps" [];
    what_dead_threads_had_is_not_lost_a_second_time_per_call = "single_step_reaps" ["call"];
    late_requests_change_no_other_record = "single_step_requests" [];
    late_requests_change_no_other_record_per_call = "single_step_requests" ["call"];
    jumped_out_callbacks_are_not_interrupted = "single_step_after_jump" [];
    jumped_out_callbacks_are_not_interrupted_per_call = "single_step_after_jump" ["call"];
    threads_that_are_attached_are_ready = "single_step_attach" [];
    threads_that_are_attached_are_ready_per_call = "single_step_attach" ["call"];
}

macro_rules! programs {
    ($($test:ident = $name:literal $link:ident [$($argument:literal),*];)*) => {$(
        #[test]
        fn $test() {
            run(&compile(stringify!($test), $name, Link::$link), &[$($argument),*]);
        }
    )*};
}

programs! {
    many_callbacks = "many_callbacks" Archive [];
    many_callbacks_per_call = "many_callbacks" Shared ["call"];
    many_threads_leave_nothing_behind = "many_threads" Archive [];
    endings = "endings" Archive [];
    endings_per_call = "endings" Shared ["call"];
    deferred_functions_are_taken_back = "taken_back" Archive [];
    deferred_functions_are_taken_back_per_call = "taken_back" Shared ["call"];
    every_misuse_is_refused = "refusals" Archive [];
    ms_are_pooled_and_bound = "pool" Archive [];
    ms_are_pooled_and_bound_per_call = "pool" Shared ["call"];
    exiting_threads_return_their_ms = "thread_exit" Archive [];
    exiting_threads_return_their_ms_per_call = "thread_exit" Shared ["call"];
    many_thread_specific_keys = "many_keys" Archive [];
    threads_of_another_layout_call_back = "foreign_layouts" Archive [];
    vfork_children_harm_nothing = "vfork" Archive [];
    what_a_sandbox_refuses = "sandbox" Archive [];
    faults_of_every_kind_are_errors = "fault_kinds" Archive [];
    faults_of_every_kind_are_errors_per_call = "fault_kinds" Shared ["call"];
    faults_of_c_are_not_caught = "faults_in_c" Archive [];
    handlers_that_come_while_needm_starts_and_stops = "handler_races" Archive [];
    previous_handlers_get_the_faults_of_c = "previous_handlers" Archive [];
    callbacks_before_main_and_at_exit = "process_exit" Archive [];
    callbacks_before_main_and_at_exit_per_call = "process_exit" Shared ["call"];
    a_forked_child_calls_back = "fork" Archive [];
    a_forked_child_calls_back_per_call = "fork" Shared ["call"];
    nothing_is_reached_beside_a_g = "guards" Archive [];
    programs_of_the_first_version_run = "first_version" Shared [];
    a_signal_changes_no_register_of_a_fault = "fault_registers" Archive [];
    protection_keys_are_kept = "protection_keys" Archive [];
    protection_keys_are_kept_per_call = "protection_keys" Shared ["call"];
    questions_are_answered = "queries" Shared [];
    fibers_call_back = "fibers" Archive [];
    fibers_call_back_per_call = "fibers" Shared ["call"];
    callbacks_of_fibers_are_left_in_their_middle = "fibers_on_their_gs" Archive [];
    callbacks_of_fibers_are_left_in_their_middle_per_call = "fibers_on_their_gs" Shared ["call"];
    fibers_beside_the_threads_stack_call_back = "fibers_beside_the_stack" Archive [];
    fibers_beside_the_threads_stack_call_back_per_call = "fibers_beside_the_stack" Shared ["call"];
    callbacks_continue_on_further_stacks = "further_stacks" Archive [];
    callbacks_continue_on_further_stacks_per_call = "further_stacks" Shared ["call"];
    the_edges_of_further_stacks = "further_stack_edges" Archive [];
    the_edges_of_further_stacks_per_call = "further_stack_edges" Shared ["call"];
    jumps_between_stacks_lose_nothing = "jumps_between_stacks" Archive [];
    jumps_between_stacks_lose_nothing_per_call = "jumps_between_stacks" Shared ["call"];
    a_stack_may_run_out_at_any_point = "little_stack" Archive [];
    a_stack_may_run_out_at_any_point_per_call = "little_stack" Shared ["call"];
    memory_that_is_refused_is_an_error = "out_of_memory" Archive [];
    memory_that_is_refused_is_an_error_per_call = "out_of_memory" Shared ["call"];
    registers_are_preserved = "registers" Archive [];
    callers_may_align_their_stack_less = "stack_alignment" Archive [];
    registers_are_preserved_per_call = "registers" Shared ["call"];
    a_longjmp_past_callbacks_loses_nothing = "longjmp" Archive [];
    a_fortified_longjmp_leaves_callbacks = "fortified_longjmp" Archive [];
    a_longjmp_past_callbacks_loses_nothing_per_call = "longjmp" Shared ["call"];
    callbacks_survive_stops_and_starts = "start_stop" Archive [];
    callbacks_survive_stops_and_starts_per_call = "start_stop" Shared ["call"];
    the_state_of_the_host_is_preserved = "host_state" Archive [];
    the_state_of_the_host_is_preserved_per_call = "host_state" Shared ["call"];
    the_state_of_the_host_is_preserved_without_robust_lists =
        "host_state" Archive ["no-robust-list"];
    signal_stacks_are_preserved = "signal_stack" Archive [];
    signal_stacks_are_preserved_per_call = "signal_stack" Shared ["call"];
    new_signal_stacks_are_noticed = "new_signal_stacks" Archive [];
    new_signal_stacks_are_noticed_per_call = "new_signal_stacks" Shared ["call"];
    signal_stacks_are_preserved_without_robust_lists = "signal_stack" Archive ["no-robust-list"];
    signals_interrupt_callbacks = "signals_during_callbacks" Archive [];
    signals_interrupt_callbacks_per_call = "signals_during_callbacks" Shared ["call"];
    handlers_of_others_run_as_without_needm = "other_handlers" Archive [];
    process_one_ends_and_keeps_its_handlers = "process_one" Archive [];
    the_host_decides_about_faults = "fault_hook" Archive [];
    crash_reporters_see_unrecovered_faults = "crash_reporter" Archive [];
    aborts_of_callbacks_are_errors = "catch_abort" Archive [];
    hooks_run_in_order = "hooks" Archive [];
    later_callbacks_make_no_system_call = "no_system_calls" Archive [];
    spawned_threads_run_as_callbacks = "spawn" Archive [];
    spawned_threads_run_as_callbacks_per_call = "spawn" Shared ["call"];
    a_spawn_that_does_not_return = "spawn_left" Archive [];
    a_spawn_that_does_not_return_per_call = "spawn_left" Shared ["call"];
    the_world_stops = "world" Archive [];
    the_world_stops_per_call = "world" Shared ["call"];
    the_world_stops_without_membarrier = "world" Archive ["no-membarrier"];
    the_world_stops_without_membarrier_per_call = "world" Archive ["call", "no-membarrier"];
    the_owner_of_a_stopped_world = "world_owner" Archive [];
    the_owner_of_a_stopped_world_per_call = "world_owner" Shared ["call"];
    the_owner_of_a_stopped_world_without_membarrier = "world_owner" Archive ["no-membarrier"];
    the_owner_of_a_stopped_world_without_robust_lists = "world_owner" Archive ["no-robust-list"];
    threads_wait_for_a_stopped_world = "world_waiters" Archive [];
    threads_wait_for_a_stopped_world_per_call = "world_waiters" Shared ["call"];
    threads_wait_for_a_stopped_world_without_membarrier =
        "world_waiters" Archive ["no-membarrier"];
    threads_wait_for_a_stopped_world_without_robust_lists =
        "world_waiters" Archive ["no-robust-list"];
    the_registers_of_interrupted_callbacks_are_shown = "interrupted_registers" Archive [];
    the_registers_of_interrupted_callbacks_are_shown_per_call =
        "interrupted_registers" Shared ["call"];
    handlers_that_wait_for_an_m_are_not_waited_for = "m_waiters" Archive [];
    handlers_that_wait_for_an_m_are_not_waited_for_per_call = "m_waiters" Shared ["call"];
    hooks_call_what_they_may = "hooks_call" Archive [];
    hooks_call_what_they_may_per_call = "hooks_call" Shared ["call"];
    hooks_that_were_left_are_not_waited_for = "hooks_left" Archive [];
    hooks_that_were_left_are_not_waited_for_per_call = "hooks_left" Shared ["call"];
    hooks_wait_for_a_stopped_world = "world_hooks" Archive [];
    hooks_wait_for_a_stopped_world_per_call = "world_hooks" Shared ["call"];
    hooks_wait_for_a_stopped_world_without_membarrier = "world_hooks" Archive ["no-membarrier"];
    hooks_wait_for_a_stopped_world_without_robust_lists =
        "world_hooks" Archive ["no-robust-list"];
    flags_hold_what_they_say = "flags" Archive [];
    flags_hold_what_they_say_per_call = "flags" Shared ["call"];
    an_orderly_close = "closing" Archive [];
    an_orderly_close_per_call = "closing" Shared ["call"];
    an_orderly_close_without_membarrier = "closing" Archive ["no-membarrier"];
    an_orderly_close_without_robust_lists = "closing" Archive ["no-robust-list"];
    backtraces_are_whole = "backtrace" Archive [];
    endless_callbacks_are_interrupted = "interrupt" Archive [];
    endless_callbacks_are_interrupted_per_call = "interrupt" Shared ["call"];
    interrupts_end_a_callback_that_c_has_jumped_back_to = "interrupt_after_jump" Archive [];
    interrupts_end_a_callback_that_c_has_jumped_back_to_per_call =
        "interrupt_after_jump" Shared ["call"];
    frames_of_handlers_that_have_returned_are_no_handlers = "stale_frames" Archive [];
    frames_of_handlers_that_have_returned_are_no_handlers_per_call = "stale_frames" Shared ["call"];
    interrupts_keep_their_rules = "interrupt_rules" Archive [];
    interrupts_keep_their_rules_per_call = "interrupt_rules" Shared ["call"];
    interrupts_meet_the_callback_that_was_asked_for = "interrupt_races" Archive [];
    interrupts_meet_the_callback_that_was_asked_for_per_call = "interrupt_races" Shared ["call"];
    interrupts_meet_the_callback_that_was_asked_for_without_membarrier =
        "interrupt_races" Archive ["no-membarrier"];
    stacks_of_what_is_over_are_used_again = "reused_stacks" Archive [];
    stacks_of_what_is_over_are_used_again_per_call = "reused_stacks" Shared ["call"];
    handlers_over_handlers_come_to_their_ends = "nested_handlers" Archive [];
    handlers_over_handlers_come_to_their_ends_per_call = "nested_handlers" Shared ["call"];
    the_loader_is_not_left_by_interrupts = "unwinding_interrupted" Archive [];
    the_loader_is_not_left_by_interrupts_per_call = "unwinding_interrupted" Archive ["call"];
    callbacks_are_interrupted_at_any_instruction = "interrupt_steps" Archive [];
    callbacks_are_interrupted_at_any_instruction_per_call = "interrupt_steps" Archive ["call"];
    handlers_may_call_back_at_any_instruction = "single_step" Archive [];
    jumps_out_of_callbacks_of_handlers_lose_nothing = "single_step_jumps" Archive [];
    jumps_out_of_callbacks_of_handlers_lose_nothing_per_call = "single_step_jumps" Shared ["call"];
    stops_do_not_wait_for_what_was_jumped_out_of = "counts_left" Archive [];
    stops_do_not_wait_for_what_was_jumped_out_of_per_call = "counts_left" Shared ["call"];
    jumps_out_of_starts_and_stops_lose_nothing = "single_step_lifecycle" Archive [];
    jumps_out_of_starts_and_stops_lose_nothing_per_call = "single_step_lifecycle" Shared ["call"];
    handlers_wait_where_their_thread_does = "single_step_gate" Archive [];
    handlers_wait_where_their_thread_does_per_call = "single_step_gate" Shared ["call"];
    handlers_may_call_back_at_any_instruction_per_call = "single_step" Shared ["call"];
    jumps_out_of_needm_leave_no_m_bound = "single_step_leaves" Archive [];
    jumps_out_of_needm_leave_no_m_bound_per_call = "single_step_leaves" Shared ["call"];
    what_dead_threads_had_is_not_lost_a_second_time = "single_step_reaps" Archive [];
    what_dead_threads_had_is_not_lost_a_second_time_per_call = "single_step_reaps" Shared ["call"];
    jumped_out_callbacks_are_not_interrupted = "single_step_after_jump" Archive [];
    jumped_out_callbacks_are_not_interrupted_per_call = "single_step_after_jump" Shared ["call"];
    late_requests_change_no_other_record = "single_step_requests" Archive [];
    late_requests_change_no_other_record_per_call = "single_step_requests" Shared ["call"];
    threads_that_are_attached_are_ready = "single_step_attach" Archive [];
    threads_that_are_attached_are_ready_per_call = "single_step_attach" Shared ["call"];
}

#[test]
fn the_shared_library_unloads_and_two_copies_work_in_one_process() {
    let test = "the_shared_library_unloads_and_two_copies_work_in_one_process";
    let program = compile(test, "unload", Link::Nothing);
    let (library, copy) = (libraries().join("libneedm.so"), program.with_extension("copy.so"));
    std::fs::copy(&library, &copy).expect("a copy");
    let [library, copy] = [library, copy].map(|path| path.display().to_string());
    run(&program, &[&library, &copy]);
}

#[test]
fn a_program_and_a_library_have_another_build_of_needm_each() {
    let test = "a_program_and_a_library_have_another_build_of_needm_each";
    let program = compile(test, "another_build", Link::Archive);
    run(&program, &[&libraries().join("libneedm.so").display().to_string()]);
}
