/* Input that the programs make for themselves, the same everywhere: random numbers and text. And how they fail. */
#ifndef INPUT_H
#define INPUT_H
#include "../kernels/kernel.h"
#include <string.h>

/* xorshift64*, the upper half. The state must not be zero. */
static inline uint32_t next_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return (uint32_t)((*state * 0x2545f4914f6cdd1dull) >> 32);
}

static inline uint32_t random_below(uint64_t *state, uint32_t limit)
{
	return (uint32_t)(((uint64_t)next_random(state) * limit) >> 32);
}

/* Another number, that depends on all bits of `value` (a step of splitmix64). */
static inline uint64_t mixed(uint64_t value)
{
	value += 0x9e3779b97f4a7c15ull;
	value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9ull;
	value = (value ^ value >> 27) * 0x94d049bb133111ebull;
	return value ^ value >> 31;
}

/* FNV-1a of some bytes, going on from `hash`. */
static inline uint64_t hashed(uint64_t hash, const void *data, size_t length)
{
	const unsigned char *bytes = data;
	for (size_t i = 0; i < length; i++) hash = (hash ^ bytes[i]) * 0x100000001b3ull;
	return hash;
}

enum { HASH_START = 1469598103 };

/* The program has found that its result is wrong, or has no memory. */
static inline void require(int holds, const char *what)
{
	if (holds) return;
	fprintf(stderr, "failed: %s\n", what);
	exit(1);
}

static const char *const syllables[] = {
	"an", "be", "com", "de", "er", "for", "ga", "hin", "in", "ka", "lor", "me", "nor", "on", "pre", "qui",
	"ra", "sta", "ter", "un", "ver", "wa", "xe", "yo", "zi", "mo", "ti", "al", "su", "dor", "eth", "ing",
};

/* Words as in prose: a few of them often, most of them rarely. Writes at most `room` bytes, and says how many. */
static inline size_t random_word(uint64_t *state, char *word, size_t room)
{
	uint32_t a = random_below(state, 1024), rank = a * a >> 10;
	uint64_t shape = mixed(rank + 1);
	size_t length = 0;
	for (int parts = 1 + (int)(shape % (rank < 64 ? 2 : 4)); parts >= 0; parts--) {
		const char *part = syllables[(shape >>= 5) & 31];
		for (; *part && length < room; part++) word[length++] = *part;
	}
	return length;
}

/* Fills a buffer with lines of words. */
static inline void random_text(uint64_t state, char *text, size_t length)
{
	size_t at = 0, column = 0;
	while (at < length) {
		size_t word = random_word(&state, text + at, length - at);
		at += word;
		column += word + 1;
		if (at < length) text[at++] = column > 72 ? '\n' : random_below(&state, 12) ? ' ' : ',';
		if (column > 72) column = 0;
	}
}
#endif
