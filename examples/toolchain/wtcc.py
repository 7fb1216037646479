#!/usr/bin/env python3
"""Compile and link a threaded C or C++ program for wasm32-wasip1-threads.

    wtcc.py SYSROOT OUT.wasm [FLAGS] FILE.c|.cpp|.o|.a ...

SYSROOT is what build_sysroot.py made. The compiler and the linker are those of the PyPI wheel ziglang==0.13.0, so run this
with a Python that has it. Debug sections are stripped and the name section is kept: backtraces show function names.
MAXMEM in the environment sets the shared memory's maximum in bytes (default 256 MiB)."""

import os
import subprocess
import sys
import tempfile

import ziglang

ZIG_DIR = os.path.dirname(ziglang.__file__)
ZIG = os.path.join(ZIG_DIR, "zig")
TARGET = "wasm32-wasip1-threads"
COMPILE = [ZIG, "clang", "--target=wasm32-wasi-threads", "-pthread", "-matomics", "-mbulk-memory",
           "-ftls-model=local-exec", "-O2", "-nostdinc"]


def main(sysroot, out, args):
    sysroot = os.path.abspath(sysroot)
    lib = f"{sysroot}/lib/{TARGET}"
    sources = [a for a in args if a.endswith((".c", ".cc", ".cpp"))]
    objects = [a for a in args if a.endswith((".o", ".a"))]
    link = [x for a in args if a.startswith("-Wl,") for x in a[4:].split(",")]
    link += [a for a in args if a.startswith(("-l", "-L"))]
    flags = [a for a in args if a not in sources and a not in objects and not a.startswith(("-Wl,", "-l", "-L"))]
    includes = ["-isystem", f"{ZIG_DIR}/lib/include", "-isystem", f"{sysroot}/include/{TARGET}"]
    cxx = any(not s.endswith(".c") for s in sources)

    with tempfile.TemporaryDirectory() as tmp:
        for i, source in enumerate(sources):
            command = list(COMPILE)
            if not source.endswith(".c"):
                command += ["-x", "c++", "-std=c++20", "-fno-exceptions", "-nostdinc++"]
                command += open(f"{sysroot}/cxxflags").read().split()
                command += ["-isystem", f"{sysroot}/include/c++/v1"]
            obj = f"{tmp}/{i}.o"
            subprocess.run(command + includes + flags + ["-c", source, "-o", obj], check=True)
            objects.append(obj)
        subprocess.run(
            [ZIG, "wasm-ld", "--import-memory", "--export-memory", "--shared-memory",
             f"--max-memory={os.environ.get('MAXMEM', 1 << 28)}",
             "--stack-first", "-z", "stack-size=131072", "--strip-debug", f"{lib}/crt1-command.o"]
            + objects + ["-L", lib] + link + (["-lc++"] if cxx else []) + ["-lc", "-lbuiltins", "-o", out],
            check=True)


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    try:
        main(sys.argv[1], sys.argv[2], sys.argv[3:])
    except subprocess.CalledProcessError as e:
        sys.exit(e.returncode)
