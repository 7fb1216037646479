/* A parallel gzip, in the manner of pigz.
 *
 *     compress [--threads N] [--level 1..9] [--checksum] [--generate BYTES | FILE]
 *
 * Reads FILE, or standard input, or makes up BYTES of text, and writes a gzip file to standard output; with --checksum it
 * prints one line about it instead. The input is cut into blocks of 128 KiB. Workers deflate them with zlib, each with the 32 KiB before
 * the block as its dictionary; main reads, and writes the results in order. A block ends on a byte boundary (a sync flush),
 * so the blocks strung together are one deflate stream. The output does not depend on the number of threads. */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "zlib.h"

enum { BLOCK = 128 * 1024, WINDOW = 32 * 1024, MAX_THREADS = 32 };

enum state { FREE, READY, DONE }; /* main fills a free slot, a worker turns ready into done, main writes it */

struct slot {
	enum state state; /* guarded by `lock`; the rest belongs to whoever the state says */
	int last;
	size_t length, dictionary, packed;
	uLong crc;
	uint8_t input[WINDOW + BLOCK]; /* the dictionary's place, then the block */
	uint8_t output[BLOCK + BLOCK / 8 + 1024];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t work = PTHREAD_COND_INITIALIZER, done = PTHREAD_COND_INITIALIZER;
static struct slot *slots;
static int slot_count, finished; /* `finished` and the two counts below are guarded by `lock` */
static unsigned long filled, taken;
static int level = 6;

static FILE *input;
static long to_generate = -1;

static _Noreturn void fail(const char *what)
{
	fprintf(stderr, "compress: %s\n", what);
	exit(1);
}

/* ---- input ---- */

static size_t generate(uint8_t *to, size_t room)
{
	static const char *const words[] = { "thread", "memory", "loop", "wait", "notify", "atomic", "stack", "module", "function",
		"table", "the", "a", "of", "and", "compiles", "runs", "waits", "grows", "while", "until", "it", "is", "hot", "cold" };
	static uint32_t state = 12345;
	static char pending[16];
	static size_t at, length;
	size_t n = 0;
	for (; n < room && to_generate > 0; n++, to_generate--) {
		if (at == length) {
			state = state * 1664525 + 1013904223;
			const char *word = words[(state >> 16) % (sizeof words / sizeof *words)];
			length = (size_t)snprintf(pending, sizeof pending, "%s%c", word, (state >> 28) == 0 ? '\n' : ' ');
			at = 0;
		}
		to[n] = (uint8_t)pending[at++];
	}
	return n;
}

static size_t fill(uint8_t *to, size_t room)
{
	if (!input) return generate(to, room);
	size_t n = fread(to, 1, room, input);
	if (n < room && ferror(input)) fail("cannot read the input");
	return n;
}

/* ---- output ---- */

static int only_checksum;
static unsigned long long written;
static uLong output_crc;

static void emit(const uint8_t *data, size_t length)
{
	written += length;
	if (only_checksum) output_crc = crc32(output_crc, data, (uInt)length);
	else if (fwrite(data, 1, length, stdout) != length) fail("cannot write the output");
}

/* ---- workers ---- */

static void deflate_slot(z_stream *z, struct slot *s)
{
	deflateReset(z);
	if (s->dictionary) deflateSetDictionary(z, s->input + WINDOW - s->dictionary, (uInt)s->dictionary);
	z->next_in = s->input + WINDOW;
	z->avail_in = (uInt)s->length;
	z->next_out = s->output;
	z->avail_out = sizeof s->output;
	int result = deflate(z, s->last ? Z_FINISH : Z_SYNC_FLUSH);
	if (result != (s->last ? Z_STREAM_END : Z_OK) || z->avail_in || !z->avail_out) fail("deflate failed");
	s->packed = sizeof s->output - z->avail_out;
	s->crc = crc32(0, s->input + WINDOW, (uInt)s->length);
}

static void *run_worker(void *unused)
{
	z_stream z = { 0 };
	if (deflateInit2(&z, level, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY) != Z_OK) fail("not enough memory");
	pthread_mutex_lock(&lock);
	for (;;) {
		while (taken == filled && !finished) pthread_cond_wait(&work, &lock);
		if (taken == filled) break;
		struct slot *s = &slots[taken++ % slot_count];
		pthread_mutex_unlock(&lock);
		deflate_slot(&z, s);
		pthread_mutex_lock(&lock);
		s->state = DONE;
		pthread_cond_signal(&done);
	}
	pthread_mutex_unlock(&lock);
	deflateEnd(&z);
	return unused;
}

/* ---- main: reads ahead as far as there are slots, and writes in order ---- */

static uLong total_crc;
static unsigned long long total_length;

static void write_slot(struct slot *s)
{
	pthread_mutex_lock(&lock);
	while (s->state != DONE) pthread_cond_wait(&done, &lock);
	s->state = FREE;
	pthread_mutex_unlock(&lock);
	emit(s->output, s->packed);
	total_crc = crc32_combine(total_crc, s->crc, (z_off_t)s->length);
	total_length += s->length;
}

static void usage(void)
{
	fprintf(stderr, "usage: compress [--threads 1..%d] [--level 1..9] [--checksum] [--generate BYTES | FILE]\n", MAX_THREADS);
	exit(2);
}

int main(int argc, char **argv)
{
	int threads = 2;
	input = stdin;
	for (int i = 1; i < argc; i++) {
		int more = i + 1 < argc;
		if (!strcmp(argv[i], "--checksum")) only_checksum = 1;
		else if (!strcmp(argv[i], "--threads") && more) threads = atoi(argv[++i]);
		else if (!strcmp(argv[i], "--level") && more) level = atoi(argv[++i]);
		else if (!strcmp(argv[i], "--generate") && more) to_generate = atol(argv[++i]), input = NULL;
		else if (argv[i][0] == '-') usage();
		else if (!(input = fopen(argv[i], "rb"))) fail("cannot open the file");
	}
	if (threads < 1 || threads > MAX_THREADS || level < 1 || level > 9) usage();

	slot_count = 2 * threads + 1;
	slots = calloc((size_t)slot_count, sizeof *slots);
	if (!slots) fail("not enough memory");
	pthread_t workers[MAX_THREADS];
	for (int i = 0; i < threads; i++)
		if (pthread_create(&workers[i], NULL, run_worker, NULL)) fail("cannot make a thread");

	static const uint8_t header[10] = { 0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255 }; /* deflate; no name, no time; system unknown */
	emit(header, sizeof header);

	static uint8_t ahead[BLOCK]; /* one block more than was handed out: only so is it known which is the last */
	size_t ahead_length = fill(ahead, BLOCK), previous_length = 0;
	unsigned long next = 0, oldest = 0;
	uint8_t *previous = NULL;
	for (int last = 0; !last;) {
		if (next - oldest == (unsigned long)slot_count - 1) write_slot(&slots[oldest++ % slot_count]);
		/* With one slot always kept back, the block before is still in its slot: its end is the dictionary. */
		struct slot *s = &slots[next % slot_count];
		s->length = ahead_length;
		memcpy(s->input + WINDOW, ahead, ahead_length);
		s->dictionary = previous_length < WINDOW ? previous_length : WINDOW;
		if (s->dictionary) memcpy(s->input + WINDOW - s->dictionary, previous + previous_length - s->dictionary, s->dictionary);
		previous = s->input + WINDOW;
		previous_length = ahead_length;
		ahead_length = ahead_length < BLOCK ? 0 : fill(ahead, BLOCK);
		last = s->last = ahead_length == 0;
		pthread_mutex_lock(&lock);
		s->state = READY;
		filled = ++next;
		pthread_cond_signal(&work);
		pthread_mutex_unlock(&lock);
	}
	while (oldest < next) write_slot(&slots[oldest++ % slot_count]);

	pthread_mutex_lock(&lock);
	finished = 1;
	pthread_cond_broadcast(&work);
	pthread_mutex_unlock(&lock);
	for (int i = 0; i < threads; i++) pthread_join(workers[i], NULL);

	uint8_t trailer[8];
	for (int i = 0; i < 4; i++) {
		trailer[i] = (uint8_t)(total_crc >> (8 * i));
		trailer[4 + i] = (uint8_t)(total_length >> (8 * i));
	}
	emit(trailer, sizeof trailer);
	if (only_checksum)
		printf("compressed %llu bytes (crc32 %08lx) in %lu blocks to %llu bytes (crc32 %08lx)\n", total_length, total_crc, next,
		       written, output_crc);
	else if (fflush(stdout)) fail("cannot write the output");
	return 0;
}
