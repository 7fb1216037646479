/* Loops over arrays that a compiler can vectorise, and one that it may not: sum, scaled addition and dot product of 32-bit
 * integers; scaled addition of floats (each element on its own: any vector width gives the same bits) and their dot product,
 * whose order of additions is fixed. The wasm itself is scalar. run(rounds) mixes the results of all rounds. */
#include "kernel.h"

enum { N = 8192 };

static uint32_t ix[N], iy[N];
static float fx[N], fy[N];

static __attribute__((noinline)) uint32_t sum_u32(const uint32_t *x, int n)
{
	uint32_t sum = 0;
	for (int i = 0; i < n; i++) sum += x[i];
	return sum;
}

static __attribute__((noinline)) uint32_t dot_u32(const uint32_t *x, const uint32_t *y, int n)
{
	uint32_t dot = 0;
	for (int i = 0; i < n; i++) dot += x[i] * y[i];
	return dot;
}

static __attribute__((noinline)) void axpy_u32(uint32_t a, const uint32_t *x, uint32_t *y, int n)
{
	for (int i = 0; i < n; i++) y[i] += a * x[i];
}

static __attribute__((noinline)) void saxpy(float a, const float *x, float *y, int n)
{
	for (int i = 0; i < n; i++) y[i] += a * x[i];
}

static __attribute__((noinline)) float dot_f32(const float *x, const float *y, int n)
{
	float dot = 0;
	for (int i = 0; i < n; i++) dot += x[i] * y[i];
	return dot;
}

int64_t run(int32_t rounds)
{
	uint64_t checksum = 0;
	for (int i = 0; i < N; i++) {
		ix[i] = (uint32_t)i * 2654435761u;
		iy[i] = (uint32_t)i ^ 0x5bd1e995u;
		fx[i] = (float)(i % 64) * 0.25f;
		fy[i] = (float)(i % 48) * 0.5f;
	}
	for (int32_t round = 0; round < rounds; round++) {
		axpy_u32((uint32_t)round * 2 + 1, ix, iy, N);
		saxpy(round % 2 ? -0.5f : 0.5f, fx, fy, N);
		uint32_t sums = sum_u32(iy, N) ^ dot_u32(ix, iy, N);
		checksum = checksum * 31 + sums + (uint64_t)(int64_t)dot_f32(fx, fy, N);
		BARRIER();
	}
	return (int64_t)checksum;
}

KERNEL("saxpy", 4000)
