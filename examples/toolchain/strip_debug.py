#!/usr/bin/env python3
"""strip_debug.py FILE.wasm ...: drop the DWARF sections of modules in place and keep the rest, the name section included
(`zig cc` can only keep both or drop both)."""

import sys


def leb128(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def strip(data):
    out = bytearray(data[:8])
    at = 8
    while at < len(data):
        size, body = leb128(data, at + 1)
        end = body + size
        is_debug = False
        if data[at] == 0:  # a custom section: its name comes first
            length, name = leb128(data, body)
            is_debug = data[name:name + length].startswith(b".debug_")
        if not is_debug:
            out += data[at:end]
        at = end
    return bytes(out)


if __name__ == "__main__":
    for path in sys.argv[1:]:
        with open(path, "rb") as f:
            stripped = strip(f.read())
        with open(path, "wb") as f:
            f.write(stripped)
