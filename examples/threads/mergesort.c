/* A parallel merge sort.
 *
 *     mergesort [ELEMENTS] [THREADS]
 *
 * Sorts 32-bit numbers from a fixed generator. Each thread sorts a slice of its own; then pairs of neighbouring slices are
 * merged, by a thread per pair, until one is left. The last line's checksum depends on the elements alone. */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_THREADS = 64, INSERTION = 24 };

struct slice {
	uint32_t *data, *scratch;
	size_t start, middle, end; /* middle: where the second sorted run begins, for a merge */
};

static uint32_t next_random(uint64_t *state)
{
	/* xorshift64*, the upper half */
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return (uint32_t)((*state * 0x2545f4914f6cdd1dull) >> 32);
}

static void merge(uint32_t *data, uint32_t *scratch, size_t start, size_t middle, size_t end)
{
	size_t left = start, right = middle, to = start;
	while (left < middle && right < end) scratch[to++] = data[right] < data[left] ? data[right++] : data[left++];
	while (left < middle) scratch[to++] = data[left++];
	while (right < end) scratch[to++] = data[right++];
	memcpy(data + start, scratch + start, (end - start) * sizeof *data);
}

static void insertion_sort(uint32_t *data, size_t start, size_t end)
{
	for (size_t i = start + 1; i < end; i++) {
		uint32_t value = data[i];
		size_t j = i;
		for (; j > start && data[j - 1] > value; j--) data[j] = data[j - 1];
		data[j] = value;
	}
}

static void sort(uint32_t *data, uint32_t *scratch, size_t start, size_t end)
{
	if (end - start <= INSERTION) {
		insertion_sort(data, start, end);
		return;
	}
	size_t middle = start + (end - start) / 2;
	sort(data, scratch, start, middle);
	sort(data, scratch, middle, end);
	merge(data, scratch, start, middle, end);
}

static void *sort_slice(void *arg)
{
	struct slice *s = arg;
	sort(s->data, s->scratch, s->start, s->end);
	return NULL;
}

static void *merge_slice(void *arg)
{
	struct slice *s = arg;
	merge(s->data, s->scratch, s->start, s->middle, s->end);
	return NULL;
}

static void run_all(void *(*work)(void *), struct slice *slices, int count)
{
	pthread_t threads[MAX_THREADS];
	for (int i = 0; i < count; i++) {
		int error = pthread_create(&threads[i], NULL, work, &slices[i]);
		if (error) {
			fprintf(stderr, "mergesort: cannot make a thread: error %d\n", error);
			exit(1);
		}
	}
	for (int i = 0; i < count; i++) pthread_join(threads[i], NULL);
}

int main(int argc, char **argv)
{
	long elements = argc > 1 ? atol(argv[1]) : 1000000;
	int threads = argc > 2 ? atoi(argv[2]) : 2;
	if (elements < 0 || elements > 20000000 || threads < 1 || threads > MAX_THREADS) {
		fprintf(stderr, "usage: mergesort [ELEMENTS, at most 20000000] [THREADS, 1 to %d]\n", MAX_THREADS);
		return 2;
	}
	size_t n = (size_t)elements;
	uint32_t *data = malloc((n + 1) * sizeof *data), *scratch = malloc((n + 1) * sizeof *scratch);
	if (!data || !scratch) {
		fprintf(stderr, "mergesort: not enough memory for %ld elements\n", elements);
		return 1;
	}
	uint64_t state = 0x9e3779b97f4a7c15ull, sum_before = 0, sum_after = 0;
	for (size_t i = 0; i < n; i++) sum_before += data[i] = next_random(&state);

	struct slice slices[MAX_THREADS];
	int count = threads;
	for (int i = 0; i < count; i++)
		slices[i] = (struct slice){ data, scratch, n * i / count, 0, n * (i + 1) / count };
	run_all(sort_slice, slices, count);
	while (count > 1) {
		int pairs = count / 2;
		struct slice odd = slices[count - 1];
		for (int i = 0; i < pairs; i++) {
			struct slice left = slices[2 * i], right = slices[2 * i + 1];
			slices[i] = (struct slice){ data, scratch, left.start, right.start, right.end };
		}
		run_all(merge_slice, slices, pairs);
		if (count % 2) slices[pairs] = odd;
		count = pairs + count % 2;
	}

	uint64_t checksum = 0xcbf29ce484222325ull; /* FNV-1a, a number at a time: it depends on the order */
	for (size_t i = 0; i < n; i++) {
		if (i && data[i - 1] > data[i]) {
			fprintf(stderr, "mergesort: element %zu is out of order\n", i);
			return 1;
		}
		sum_after += data[i];
		checksum = (checksum ^ data[i]) * 0x100000001b3ull;
	}
	if (sum_before != sum_after) {
		fprintf(stderr, "mergesort: elements were lost\n");
		return 1;
	}
	printf("sorted %ld elements with %d threads, checksum %016llx\n", elements, threads, (unsigned long long)checksum);
	return 0;
}
