/* The spectral norm of an infinite matrix's corner, after the Computer Language Benchmarks Game's description: divisions of doubles
 * in the order of the source. run(steps) takes so many steps of power iteration and mixes the norms that they give, each in units of
 * 1e-9, rounded. They come to 1.274219991. */
#include "kernel.h"

enum { N = 100 };

static double u[N], v[N], between[N];

static double entry(int i, int j) { return 1.0 / ((i + j) * (i + j + 1) / 2 + i + 1); }

static void multiply(const double *in, double *out, int transposed)
{
	for (int i = 0; i < N; i++) {
		double sum = 0;
		for (int j = 0; j < N; j++) sum += (transposed ? entry(j, i) : entry(i, j)) * in[j];
		out[i] = sum;
	}
}

int64_t run(int32_t steps)
{
	for (int i = 0; i < N; i++) u[i] = 1;
	uint64_t checksum = 0;
	for (int32_t k = 0; k < steps; k++) {
		double square = 0;
		multiply(u, between, 0);
		multiply(between, v, 1);
		for (int i = 0; i < N; i++) square += v[i] * v[i];
		/* `u` has the length one but for the first step, so that this is the square of the norm. */
		double length = __builtin_sqrt(square);
		for (int i = 0; i < N; i++) u[i] = v[i] / length;
		checksum = checksum * 31 + (uint64_t)(__builtin_sqrt(length) * 1e9 + 0.5);
	}
	return (int64_t)checksum;
}

KERNEL("spectral", 1000)
