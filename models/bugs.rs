// What is planted, each in one place of one shipped source; `tests/planted.rs` says which
// check must find it.
const BUGS: &[Bug] = &[
    Bug {
        name: "a_list_without_a_generation",
        source: "list.rs",
        from: "((before >> 32).wrapping_add(1) << 32)",
        to: "((before >> 32) << 32)",
    },
    Bug {
        name: "a_list_that_publishes_nothing",
        source: "list.rs",
        from: "following(head, index + 1), SeqCst, Relaxed)",
        to: "following(head, index + 1), Relaxed, Relaxed)",
    },
    Bug {
        name: "a_giver_that_wakes_nobody",
        source: "extra/mod.rs",
        from: "            self.idle.push(&MS, m.index());\n        }\n        self.wake();",
        to: "            self.idle.push(&MS, m.index());\n        }",
    },
    Bug {
        name: "a_waiter_that_looks_too_late",
        source: "extra/mod.rs",
        from: "system::wait(&self.returned, seen, Some(nap))",
        to: "{ let _ = seen; system::wait(&self.returned, self.returned.load(SeqCst), Some(nap)) }",
    },
    Bug {
        name: "a_giver_that_publishes_nothing",
        source: "extra/mod.rs",
        from: "(state, READY | LISTED, SeqCst, Relaxed)",
        to: "(state, READY | LISTED, Relaxed, Relaxed)",
    },
    Bug {
        name: "a_giver_that_does_not_list",
        source: "extra/mod.rs",
        from: "if !m.listed.load(SeqCst) && !m.listed.swap(true, SeqCst) {",
        to: "if m.state.load(SeqCst) & LISTED == 0 {",
    },
    Bug {
        name: "a_popper_that_does_not_look_again",
        source: "extra/mod.rs",
        from: "                mine = claim(m, thread, true);",
        to: "",
    },
    Bug {
        name: "a_last_m_that_nobody_lets_go",
        source: "extra/mod.rs",
        from: "        if goes {\n            self.put(m);\n        }",
        to: "",
    },
    Bug {
        name: "a_taker_that_makes_no_spare",
        source: "extra/make.rs",
        from: "for _ in 0..self.waiting().max(1) {",
        to: "for _ in 0..0 {",
    },
    Bug {
        name: "a_gate_without_a_fence",
        source: "world.rs",
        from: "    if runtime::settings().enters_with_fence() {\n        fence(SeqCst);\n    } else {",
        to: "    {",
    },
    Bug {
        name: "a_gate_without_a_second_look",
        source: "world.rs",
        from: "            if value() == seen {",
        to: "            if seen == seen {",
    },
    Bug {
        name: "a_stopper_that_does_not_wait",
        source: "world.rs",
        from: "    close();\n    wait_until_quiet(own);",
        to: "    close();",
    },
    Bug {
        name: "a_leaver_that_wakes_no_stopper",
        source: "world.rs",
        from: "    if is_closed(value()) {\n        left();\n    }",
        to: "",
    },
    Bug {
        name: "a_starter_that_wakes_no_stopper",
        source: "world.rs",
        from: "    TURN.fetch_add(1, SeqCst);\n    system::wake(&TURN, u32::MAX >> 1);",
        to: "    TURN.fetch_add(1, SeqCst);",
    },
    Bug {
        name: "a_starter_that_wakes_nobody_at_the_gate",
        source: "world.rs",
        from: "    gate().store(value, SeqCst);\n    wake_all();",
        to: "    gate().store(value, SeqCst);",
    },
    Bug {
        name: "a_stopper_that_waits_and_counts_as_running",
        source: "world.rs",
        from: "        parked(|| {\n            loop {",
        to: "        Some(()).into_iter().for_each(|()| {\n            loop {",
    },
];
