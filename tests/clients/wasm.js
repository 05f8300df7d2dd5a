// WebAssembly's accesses out of bounds, which V8 finds by faults, and callbacks that fault, on
// the same threads: the first one and two workers. Argument: the guest as an addon.
'use strict';
const { Worker, isMainThread } = require('node:worker_threads');
const guest = require(process.argv[2]);
const rounds = Number(process.env.ROUNDS);

// (module (memory 1) (func (export "read") (param i32) (result i32) (i32.load (local.get 0))))
const bytes = Uint8Array.from([
  0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 6, 1, 0x60, 1, 0x7f, 1, 0x7f, 3, 2, 1, 0, 5, 3, 1, 0, 1,
  7, 8, 1, 4, 0x72, 0x65, 0x61, 0x64, 0, 0, 10, 9, 1, 7, 0, 0x20, 0, 0x28, 2, 0, 0x0b,
]);

function run() {
  const read = new WebAssembly.Instance(new WebAssembly.Module(bytes)).exports.read;
  let caught = 0;
  for (let round = 0; round < rounds; round++) {
    try {
      read(0x70000000);
    } catch (error) {
      if (error instanceof WebAssembly.RuntimeError) caught++;
    }
    if (guest.mix(round) !== 0) process.exit(4);
  }
  if (caught !== rounds) process.exit(5);
}

if (isMainThread) {
  if (guest.start() !== 0) process.exit(3);
  let running = 2;
  for (let i = running; i > 0; i--) {
    const worker = new Worker(__filename, { argv: [process.argv[2]] });
    worker.on('error', () => process.exit(6));
    worker.on('exit', (code) => {
      if (code !== 0) process.exit(code);
      if (--running === 0) {
        guest.finish();
        process.exit(200);
      }
    });
  }
}
run();
