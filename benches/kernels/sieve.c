/* The sieve of Eratosthenes: byte stores at growing strides. Each round counts the 82025 primes below 2^20; run(rounds) is the
 * sum of the counts. */
#include "kernel.h"
#include <string.h>

enum { LIMIT = 1 << 20 };

static uint8_t composite[LIMIT];

int64_t run(int32_t rounds)
{
	int64_t total = 0;
	for (int32_t round = 0; round < rounds; round++) {
		memset(composite, 0, sizeof composite);
		for (uint32_t i = 2; i < LIMIT; i++) {
			if (composite[i]) continue;
			total++;
			if (i >= 1024) continue;
			for (uint32_t j = i * i; j < LIMIT; j += i) composite[j] = 1;
		}
		BARRIER();
	}
	return total;
}

KERNEL("sieve", 60)
