// inlined.wasm: wasi-libc, clang of ziglang 0.13.0 as in examples/toolchain/wtcc.py, with -g -fdebug-prefix-map=$PWD=. and without --strip-debug.
#include <stdlib.h>

static inline __attribute__((always_inline)) int divide(int a, int b) {
  if (b == 0) __builtin_trap();
  return a / b;
}

__attribute__((noinline)) int work(int n) {
  int s = 0;
  for (int i = n; i >= 0; i--)
    s += divide(1000, i);
  return s;
}

int main(int argc, char **argv) {
  return work(argc > 1 ? atoi(argv[1]) : 10);
}
