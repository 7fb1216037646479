/* Fibonacci numbers by plain recursion: nothing but calls. run(n) is the n-th, with fib(1) = fib(2) = 1. */
#include "kernel.h"

static __attribute__((noinline)) int64_t fib(int32_t n)
{
	return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

int64_t run(int32_t n) { return fib(n); }

KERNEL("fib", 37)
