// Runs a WASI program in node: V8 for the code, node:wasi for the host, worker_threads for wasi.thread-spawn.
//
//     node node-wasi.mjs FILE [ARGS]
import { readFileSync } from "node:fs";
import { Worker, isMainThread, workerData } from "node:worker_threads";
import { WASI } from "node:wasi";

function wasiFor(args, returnOnExit) {
  return new WASI({ version: "preview1", args, env: {}, preopens: workerData?.preopens ?? preopens, returnOnExit });
}

let preopens = {};

function imports(module, wasi, memory, spawn) {
  const all = { ...wasi.getImportObject() };
  for (const { module: from, name, kind } of WebAssembly.Module.imports(module)) {
    if (kind === "memory") all[from] = { ...all[from], [name]: memory };
    if (from === "wasi" && name === "thread-spawn") all.wasi = { "thread-spawn": spawn };
  }
  return all;
}

// Ids are given out by all threads, so they come from shared memory.
function spawner(module, memory, args, ids) {
  return (argument) => {
    const id = Atomics.add(ids, 0, 1) + 1;
    const data = { module, memory, args, ids, id, argument, preopens: workerData?.preopens ?? preopens };
    new Worker(new URL(import.meta.url), { workerData: data, stdout: false, stderr: false }).unref();
    return id;
  };
}

if (isMainThread) {
  const args = process.argv.slice(2);
  while (args[0]?.startsWith("--dir=")) {
    const [host, guest] = args.shift().slice(6).split("::");
    preopens[guest ?? host] = host;
  }
  const module = await WebAssembly.compile(readFileSync(args[0]));
  const wanted = WebAssembly.Module.imports(module).some(({ kind }) => kind === "memory");
  // The limits that benches/ and examples/ are linked with; the API does not tell those of an import.
  const memory = wanted ? sharedMemory(readFileSync(args[0])) : undefined;
  const wasi = wasiFor(args, true);
  const instance = await WebAssembly.instantiate(module, imports(module, wasi, memory, spawner(module, memory, args, new Int32Array(new SharedArrayBuffer(4)))));
  process.exit(wasi.start(memory ? { exports: { ...instance.exports, memory } } : instance));
} else {
  const { module, memory, args, ids, id, argument } = workerData;
  const wasi = wasiFor(args, false);
  const instance = new WebAssembly.Instance(module, imports(module, wasi, memory, spawner(module, memory, args, ids)));
  wasi.initialize({ exports: { memory } });
  instance.exports.wasi_thread_start(id, argument);
}

// The memory that a module imports, with the limits in its import section.
function sharedMemory(bytes) {
  let at = 8;
  const number = () => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[at++];
      value += (byte & 127) * 2 ** shift;
      if (byte < 128) return value;
    }
  };
  const skipName = () => {
    const length = number();
    at += length;
  };
  while (at < bytes.length) {
    const section = bytes[at++], size = number(), end = at + size;
    if (section === 2) {
      for (let count = number(); count > 0; count--) {
        skipName();
        skipName();
        const kind = bytes[at++];
        if (kind === 2) {
          const flags = bytes[at++], initial = number(), maximum = flags & 1 ? number() : undefined;
          return new WebAssembly.Memory({ initial, maximum, shared: (flags & 2) !== 0 });
        }
        if (kind === 0) number();
        else throw new Error("an import that is neither function nor memory");
      }
    }
    at = end;
  }
  return undefined;
}
