/* Products of 128 x 128 matrices of doubles. All values are whole and small, so the sums are exact in whatever order they
 * are added. run(rounds) is a checksum over the products. */
#include "kernel.h"

enum { N = 128 };

static double a[N][N], b[N][N], c[N][N];

static void multiply(void)
{
	for (int i = 0; i < N; i++) {
		for (int j = 0; j < N; j++) c[i][j] = 0;
		for (int k = 0; k < N; k++) {
			double x = a[i][k];
			for (int j = 0; j < N; j++) c[i][j] += x * b[k][j];
		}
	}
}

int64_t run(int32_t rounds)
{
	int64_t checksum = 0;
	for (int i = 0; i < N; i++) {
		for (int j = 0; j < N; j++) {
			a[i][j] = (i * 7 + j * 3) % 17;
			b[i][j] = (i * 5 + j * 11) % 13;
		}
	}
	for (int32_t round = 0; round < rounds; round++) {
		a[round % N][round * 5 % N] += 1;
		multiply();
		int64_t sum = 0;
		for (int i = 0; i < N; i++)
			for (int j = 0; j < N; j++) sum += (int64_t)c[i][j] * (i ^ j);
		checksum = checksum * 31 + sum;
		BARRIER();
	}
	return checksum;
}

KERNEL("matmul", 160)
