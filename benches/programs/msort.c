/* A merge sort by several threads: each sorts a slice, then pairs of sorted runs are merged, and each merge is divided among all
 * threads where the two runs cross. run(amount) sorts `amount` times 4096 numbers, up to 2^20 in one array, and returns a hash of the sorted
 * arrays, which does not depend on the number of threads. */
#include "input.h"
#include <pthread.h>

enum { UNIT = 4096, MOST = 1 << 20, INSERTION = 16 };

static uint32_t data[MOST], scratch[MOST];
static uint64_t hashes[MAX_THREADS];
static pthread_barrier_t barrier;
static int32_t total_units;

static void insertion_sort(uint32_t *a, size_t count)
{
	for (size_t i = 1; i < count; i++) {
		uint32_t value = a[i];
		size_t at = i;
		for (; at > 0 && a[at - 1] > value; at--) a[at] = a[at - 1];
		a[at] = value;
	}
}

static void merge(const uint32_t *left, size_t left_count, const uint32_t *right, size_t right_count, uint32_t *to)
{
	size_t l = 0, r = 0;
	while (l < left_count && r < right_count) *to++ = right[r] < left[l] ? right[r++] : left[l++];
	while (l < left_count) *to++ = left[l++];
	while (r < right_count) *to++ = right[r++];
}

/* Sorts `a`, or leaves the sorted numbers in `other`. */
static void sort(uint32_t *a, uint32_t *other, size_t count, int into_other)
{
	if (count <= INSERTION) {
		insertion_sort(a, count);
		if (into_other) memcpy(other, a, count * sizeof *a);
		return;
	}
	size_t middle = count / 2;
	sort(a, other, middle, !into_other);
	sort(a + middle, other + middle, count - middle, !into_other);
	const uint32_t *from = into_other ? a : other;
	merge(from, middle, from + middle, count - middle, into_other ? other : a);
}

/* How many of the first `rank` numbers of the merged runs come from the left one. */
static size_t crossing(const uint32_t *left, size_t left_count, const uint32_t *right, size_t right_count, size_t rank)
{
	size_t low = rank > right_count ? rank - right_count : 0, high = rank < left_count ? rank : left_count;
	while (low < high) {
		size_t middle = (low + high) / 2;
		if (right[rank - middle - 1] < left[middle]) high = middle;
		else low = middle + 1;
	}
	return low;
}

/* Where slice `i` of `parts` begins. */
static size_t slice(size_t count, int i, int parts) { return count * (size_t)i / (size_t)parts; }

/* One thread's part in sorting the array that begins at unit `first`. All threads do the same steps. */
static void sort_array(int me, size_t count, int32_t first)
{
	int threads = kernel_threads;
	size_t from = slice(count, me, threads), to = slice(count, me + 1, threads);
	for (size_t i = from; i < to; i++) data[i] = (uint32_t)(mixed((uint64_t)first << 32 | i) >> 13);
	sort(data + from, scratch + from, to - from, 0);
	pthread_barrier_wait(&barrier);
	uint32_t *now = data, *other = scratch;
	for (int width = 1; width < threads; width *= 2) {
		for (int run = 0; run < threads; run += 2 * width) {
			int second = run + width < threads ? run + width : threads, end = run + 2 * width < threads ? run + 2 * width : threads;
			size_t start = slice(count, run, threads), middle = slice(count, second, threads);
			const uint32_t *left = now + start, *right = now + middle;
			size_t left_count = middle - start, right_count = slice(count, end, threads) - middle;
			size_t low = slice(left_count + right_count, me, threads), high = slice(left_count + right_count, me + 1, threads);
			size_t left_low = crossing(left, left_count, right, right_count, low), left_high = crossing(left, left_count, right, right_count, high);
			merge(left + left_low, left_high - left_low, right + (low - left_low), (high - left_high) - (low - left_low), other + start + low);
		}
		pthread_barrier_wait(&barrier);
		uint32_t *swap = now;
		now = other;
		other = swap;
	}
	uint64_t hash = 0;
	for (size_t i = from; i < to; i++) {
		require(i == 0 || now[i - 1] <= now[i], "the numbers are in order");
		hash += (now[i] ^ 0x5bd1e995u) * (2 * (uint64_t)i + 1);
	}
	hashes[me] = mixed((uint64_t)first) * hash + hashes[me];
	pthread_barrier_wait(&barrier);
}

static void *work(void *arg)
{
	int me = (int)(intptr_t)arg;
	hashes[me] = 0;
	for (int32_t first = 0; first < total_units; first += MOST / UNIT) {
		int32_t units = total_units - first < MOST / UNIT ? total_units - first : MOST / UNIT;
		sort_array(me, (size_t)units * UNIT, first);
	}
	return NULL;
}

int64_t run(int32_t amount)
{
	pthread_t others[MAX_THREADS];
	total_units = amount;
	require(!pthread_barrier_init(&barrier, NULL, (unsigned)kernel_threads), "a barrier is made");
	for (int i = 1; i < kernel_threads; i++) require(!pthread_create(&others[i], NULL, work, (void *)(intptr_t)i), "a thread is made");
	work(NULL);
	uint64_t hash = hashes[0];
	for (int i = 1; i < kernel_threads; i++) {
		pthread_join(others[i], NULL);
		hash += hashes[i];
	}
	pthread_barrier_destroy(&barrier);
	return (int64_t)hash;
}

KERNEL("msort", 256)
