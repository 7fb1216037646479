/* What every kernel shares. A kernel defines `run`, which takes an amount of work and returns a checksum, and states its
 * default amount. Two ways in: as a WASI command (`_start`, argv[1] is the amount), and by the export `run`, which calls
 * nothing of WASI and needs no set-up. */
#ifndef KERNEL_H
#define KERNEL_H
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#ifdef __wasm__
#define EXPORT(name) __attribute__((export_name(name)))
#else
#define EXPORT(name)
#endif

/* The compiler must take memory as changed here, and so cannot fold equal rounds into one. It emits nothing. */
#define BARRIER() __asm__ volatile("" ::: "memory")

/* Not inlined into main: both ways in run the same code. */
EXPORT("run") __attribute__((noinline)) int64_t run(int32_t amount);

#define KERNEL(name, default_amount)                                                    \
	int main(int argc, char **argv)                                                     \
	{                                                                                   \
		int32_t amount = argc > 1 ? (int32_t)strtol(argv[1], NULL, 10) : default_amount; \
		printf("%s(%d) = %lld\n", name, (int)amount, (long long)run(amount));           \
		return 0;                                                                       \
	}
#endif
