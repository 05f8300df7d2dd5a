"""WebAssembly's traps in wasmtime, which finds them by faults, and callbacks that fault, on the
same threads: accesses out of bounds (SIGSEGV), divisions (SIGFPE), unreachable code (SIGILL)."""

import ctypes
import os
import threading

import wasmtime

TEXT = """
(module
  (memory 1)
  (func (export "read") (drop (i32.load (i32.const 0x70000000))))
  (func (export "divide") (param i32) (result i32) (i32.div_u (i32.const 1) (local.get 0)))
  (func (export "stop") unreachable)
  (func $deeper (export "deeper") (param i32) (result i32)
    (i32.add (i32.const 1) (call $deeper (local.get 0)))))
"""

library = ctypes.CDLL(os.environ["GUEST"])
rounds = int(os.environ["ROUNDS"])
engine = wasmtime.Engine()
module = wasmtime.Module(engine, TEXT)


def traps(store, function, *arguments):
    try:
        function(store, *arguments)
    except wasmtime.Trap:
        return
    print("no trap", flush=True)
    os._exit(4)


def mix():
    store = wasmtime.Store(engine)
    exports = wasmtime.Instance(store, module, []).exports(store)
    for count in range(rounds):
        traps(store, exports["read"])
        traps(store, exports["divide"], 0)
        traps(store, exports["stop"])
        if library.guest_mix(count) != 0:
            os._exit(1)
        if count % 100 == 0:
            traps(store, exports["deeper"], 0)


# The engine installs its handlers with the first module.
if library.guest_start() != 0:
    os._exit(3)
threads = [threading.Thread(target=mix) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
library.guest_finish()
os._exit(200)
