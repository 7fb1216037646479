/* Fannkuch, after the Computer Language Benchmarks Game's description: reversals of the front of small arrays, for all
 * permutations of eight numbers. run(rounds) adds up the checksums; that of one round is 1616, with at most 22 reversals. */
#include "kernel.h"

enum { N = 8 };

static int checksum, most;

static void all_permutations(void)
{
	int permutation[N], copy[N], count[N];
	int left = N, parity = 0;
	for (int i = 0; i < N; i++) permutation[i] = i;
	checksum = most = 0;
	for (;;) {
		for (; left > 1; left--) count[left - 1] = left;
		for (int i = 0; i < N; i++) copy[i] = permutation[i];
		int reversals = 0;
		for (int first = copy[0]; first; first = copy[0]) {
			for (int low = 0, high = first; low < high; low++, high--) {
				int swap = copy[low];
				copy[low] = copy[high];
				copy[high] = swap;
			}
			reversals++;
		}
		if (reversals > most) most = reversals;
		checksum += parity ? -reversals : reversals;
		parity = !parity;
		for (;; left++) {
			if (left == N) return;
			int first = permutation[0];
			for (int i = 0; i < left; i++) permutation[i] = permutation[i + 1];
			permutation[left] = first;
			if (--count[left] > 0) break;
		}
	}
}

int64_t run(int32_t rounds)
{
	int64_t total = 0;
	for (int32_t round = 0; round < rounds; round++) {
		all_permutations();
		total += checksum + ((int64_t)most << 32);
		BARRIER();
	}
	return total;
}

KERNEL("fannkuch", 40)
