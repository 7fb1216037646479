/* What every kernel and every program of the suite shares. One defines `run`, which takes an amount of work and returns a
 * checksum, and states its default amount. Two ways in: as a WASI command, and by the export `run`, which needs no set-up.
 *
 *     NAME [AMOUNT [REPEATS [THREADS]]]
 *
 * With REPEATS, `run(AMOUNT)` is called so often, must return the same each time, and the microseconds of each call go to
 * standard error. The export calls nothing of WASI, but for the end of a program that has found an error in itself. */
#ifndef KERNEL_H
#define KERNEL_H
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#ifdef __wasm__
#define EXPORT(name) __attribute__((export_name(name)))
#else
#define EXPORT(name)
#endif

/* The compiler must take memory as changed here, and so cannot fold equal rounds into one. It emits nothing. */
#define BARRIER() __asm__ volatile("" ::: "memory")

enum { MAX_THREADS = 64 };

/* How many threads share the work, for programs that have any. */
static int kernel_threads = 1;

/* Not inlined into main: both ways in run the same code. */
EXPORT("run") __attribute__((noinline)) int64_t run(int32_t amount);

static int64_t kernel_nanoseconds(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int kernel_main(const char *name, int32_t amount, int argc, char **argv)
{
	if (argc > 1) amount = (int32_t)strtol(argv[1], NULL, 10);
	int32_t repeats = argc > 2 ? (int32_t)strtol(argv[2], NULL, 10) : 1;
	if (argc > 3) kernel_threads = (int)strtol(argv[3], NULL, 10);
	if (amount < 0 || repeats < 1 || kernel_threads < 1 || kernel_threads > MAX_THREADS) {
		fprintf(stderr, "usage: %s [AMOUNT [REPEATS [THREADS, 1 to %d]]]\n", name, MAX_THREADS);
		return 2;
	}
	int64_t checksum = 0;
	for (int32_t i = 0; i < repeats; i++) {
		int64_t start = kernel_nanoseconds();
		/* The compiler must not know that the amount is the same each time. */
		__asm__ volatile("" : "+r"(amount));
		int64_t sum = run(amount);
		if (argc > 2) fprintf(stderr, "repeat %d: %lld us\n", (int)i + 1, (long long)(kernel_nanoseconds() - start) / 1000);
		if (i > 0 && sum != checksum) {
			fprintf(stderr, "%s: repeat %d gave %lld and not %lld\n", name, (int)i + 1, (long long)sum, (long long)checksum);
			return 1;
		}
		checksum = sum;
	}
	printf("%s(%d) = %lld\n", name, (int)amount, (long long)checksum);
	return 0;
}

#define KERNEL(name, default_amount) \
	int main(int argc, char **argv) { return kernel_main(name, default_amount, argc, argv); }
#endif
