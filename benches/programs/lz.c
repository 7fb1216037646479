/* A compressor with threads, in blocks as pigz and lz4 have them: each thread takes the next block, makes its text, compresses it
 * (LZ77 with a hash table; literals and matches in bytes, after the form of LZ4's blocks), unpacks and compares. run(amount) does so with
 * `amount` blocks of 64 KiB; its result depends on the blocks alone, not on the number of threads. */
#include "input.h"
#include <pthread.h>
#include <stdatomic.h>

enum { BLOCK = 65536, OUT = BLOCK + BLOCK / 128 + 64, HASH_BITS = 14, MIN_MATCH = 4, MARGIN = 12 };

struct worker {
	pthread_t thread;
	uint64_t sum; /* over the blocks that this thread did: the order does not matter */
	uint64_t bytes;
	uint8_t text[BLOCK], packed[OUT], back[BLOCK];
	uint32_t places[1 << HASH_BITS];
};

static struct worker workers[MAX_THREADS];
static atomic_int next_block;
static int block_count;

static uint32_t load(const uint8_t *p)
{
	uint32_t value;
	memcpy(&value, p, sizeof value);
	return value;
}

/* The rest of a length that did not fit into its four bits. */
static uint8_t *put_length(uint8_t *to, uint32_t length)
{
	for (; length >= 255; length -= 255) *to++ = 255;
	*to++ = (uint8_t)length;
	return to;
}

static size_t pack(struct worker *w)
{
	const uint8_t *text = w->text;
	uint8_t *to = w->packed;
	uint32_t at = 1, literals = 0; /* where the literals that are not written yet begin */
	memset(w->places, 0, sizeof w->places);
	for (;;) {
		uint32_t from = 0, step = 1 << 6;
		while (at < BLOCK - MARGIN) {
			uint32_t *place = &w->places[(load(text + at) * 2654435761u) >> (32 - HASH_BITS)];
			from = *place;
			*place = at;
			if (load(text + from) == load(text + at) && from < at) break;
			at += step++ >> 6; /* faster where nothing repeats */
		}
		int last = at >= BLOCK - MARGIN;
		if (last) at = BLOCK;
		uint32_t run = at - literals, length = 0;
		if (!last) {
			while (at + MIN_MATCH + length < BLOCK - 5 && text[from + MIN_MATCH + length] == text[at + MIN_MATCH + length]) length++;
		}
		*to++ = (uint8_t)((run < 15 ? run : 15) << 4 | (length < 15 ? length : 15));
		if (run >= 15) to = put_length(to, run - 15);
		memcpy(to, text + literals, run);
		to += run;
		if (last) return (size_t)(to - w->packed);
		*to++ = (uint8_t)(at - from);
		*to++ = (uint8_t)((at - from) >> 8);
		if (length >= 15) to = put_length(to, length - 15);
		at += MIN_MATCH + length;
		literals = at;
	}
}

static uint32_t get_length(const uint8_t **from, uint32_t length)
{
	if (length < 15) return length;
	uint8_t byte;
	do length += byte = *(*from)++;
	while (byte == 255);
	return length;
}

static size_t unpack(struct worker *w, size_t size)
{
	const uint8_t *from = w->packed, *end = from + size;
	size_t at = 0;
	for (;;) {
		uint8_t token = *from++;
		uint32_t run = get_length(&from, token >> 4);
		require(at + run <= BLOCK, "literals within the block");
		memcpy(w->back + at, from, run);
		at += run;
		from += run;
		if (from >= end) return at;
		uint32_t distance = from[0] | (uint32_t)from[1] << 8;
		from += 2;
		uint32_t length = get_length(&from, token & 15) + MIN_MATCH;
		require(distance > 0 && distance <= at && at + length <= BLOCK, "a match within the block");
		for (uint32_t i = 0; i < length; i++, at++) w->back[at] = w->back[at - distance];
	}
}

static void *work(void *arg)
{
	struct worker *w = arg;
	w->sum = w->bytes = 0;
	for (int block; (block = atomic_fetch_add(&next_block, 1)) < block_count;) {
		random_text(mixed((uint64_t)block), (char *)w->text, BLOCK);
		size_t size = pack(w);
		require(unpack(w, size) == BLOCK && !memcmp(w->text, w->back, BLOCK), "the same text comes back");
		w->sum += mixed(hashed(HASH_START ^ (uint64_t)block, w->packed, size));
		w->bytes += size;
	}
	return NULL;
}

int64_t run(int32_t amount)
{
	atomic_store(&next_block, 0);
	block_count = amount;
	for (int i = 1; i < kernel_threads; i++) require(!pthread_create(&workers[i].thread, NULL, work, &workers[i]), "a thread is made");
	work(&workers[0]);
	uint64_t sum = workers[0].sum, bytes = workers[0].bytes;
	for (int i = 1; i < kernel_threads; i++) {
		pthread_join(workers[i].thread, NULL);
		sum += workers[i].sum;
		bytes += workers[i].bytes;
	}
	return (int64_t)mixed(sum ^ bytes);
}

KERNEL("lz", 100)
