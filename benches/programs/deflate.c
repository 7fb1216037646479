/* DEFLATE (RFC 1951), both ways: compresses text with hash chains and dynamic Huffman codes, and inflates it again.
 * run(amount) does so with `amount` texts of 16 KiB and returns a hash over all that was compressed. */
#include "input.h"

enum {
	TEXT = 16384, OUT = 2 * TEXT, MIN_MATCH = 3, MAX_MATCH = 258, CHAIN = 24,
	HASH_BITS = 13, LITERALS = 286, DISTANCES = 30, LENGTHS = 19, MAX_BITS = 15, END = 256
};

static const uint16_t length_base[29] = { 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258 };
static const uint8_t length_extra[29] = { 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0 };
static const uint16_t distance_base[30] = { 1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577 };
static const uint8_t distance_extra[30] = { 0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13 };
/* The order in which the lengths of the code of lengths are written. */
static const uint8_t length_order[LENGTHS] = { 16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15 };

/* A Huffman code: how many bits a symbol has, and which (in the order in which they are written). */
struct code {
	uint8_t bits[LITERALS];
	uint16_t word[LITERALS];
};

/* ---- bits ---- */

struct bits {
	uint8_t *data;
	size_t at;
	uint32_t hold;
	int held;
};

static void put(struct bits *b, uint32_t value, int count)
{
	b->hold |= value << b->held;
	b->held += count;
	while (b->held >= 8) {
		require(b->at < OUT, "room for compressed bytes");
		b->data[b->at++] = (uint8_t)b->hold;
		b->hold >>= 8;
		b->held -= 8;
	}
}

static uint32_t take(struct bits *b, int count)
{
	while (b->held < count) {
		b->hold |= (uint32_t)b->data[b->at++] << b->held;
		b->held += 8;
	}
	uint32_t value = b->hold & ((1u << count) - 1);
	b->hold >>= count;
	b->held -= count;
	return value;
}

/* ---- codes ---- */

static void assign_words(struct code *code, int symbols)
{
	uint16_t count[MAX_BITS + 1] = { 0 }, next[MAX_BITS + 2] = { 0 };
	for (int s = 0; s < symbols; s++) count[code->bits[s]]++;
	count[0] = 0;
	for (int length = 1; length <= MAX_BITS; length++) next[length + 1] = (uint16_t)((next[length] + count[length]) << 1);
	for (int s = 0; s < symbols; s++) {
		int length = code->bits[s];
		uint32_t word = length ? next[length]++ : 0, reversed = 0;
		for (int i = 0; i < length; i++) reversed |= (word >> i & 1) << (length - 1 - i);
		code->word[s] = (uint16_t)reversed;
	}
}

/* Makes the code of least length for these frequencies, with at most `limit` bits for a symbol: frequencies are halved until
 * it fits. A code of one symbol is given a second, as readers expect. */
static void make_code(struct code *code, const uint32_t *frequencies, int symbols, int limit)
{
	uint32_t weight[2 * LITERALS];
	uint16_t parent[2 * LITERALS], heap[LITERALS + 2];
	uint32_t scaled[LITERALS];
	memcpy(scaled, frequencies, (size_t)symbols * sizeof *scaled);
	int used = 0;
	for (int s = 0; s < symbols; s++) used += scaled[s] > 0;
	for (int s = 0; used < 2; s++)
		if (!scaled[s]) scaled[s] = 1, used++;
	for (;;) {
		int size = 0, nodes = symbols;
		for (int s = 0; s < symbols; s++) {
			weight[s] = scaled[s];
			if (!scaled[s]) continue;
			int at = ++size; /* sift up */
			for (; at > 1 && weight[heap[at / 2]] > weight[s]; at /= 2) heap[at] = heap[at / 2];
			heap[at] = (uint16_t)s;
		}
		while (size > 1) {
			uint16_t least[2];
			for (int i = 0; i < 2; i++) {
				least[i] = heap[1];
				uint16_t moved = heap[size--];
				int at = 1; /* sift down */
				for (int child; (child = 2 * at) <= size; at = child) {
					if (child < size && weight[heap[child + 1]] < weight[heap[child]]) child++;
					if (weight[heap[child]] >= weight[moved]) break;
					heap[at] = heap[child];
				}
				heap[at] = moved;
			}
			weight[nodes] = weight[least[0]] + weight[least[1]];
			parent[least[0]] = parent[least[1]] = (uint16_t)nodes;
			int at = ++size;
			for (; at > 1 && weight[heap[at / 2]] > weight[nodes]; at /= 2) heap[at] = heap[at / 2];
			heap[at] = (uint16_t)nodes++;
		}
		int longest = 0;
		for (int s = 0; s < symbols; s++) {
			int length = 0;
			if (scaled[s])
				for (int node = s; node != nodes - 1; node = parent[node]) length++;
			code->bits[s] = (uint8_t)length;
			if (length > longest) longest = length;
		}
		if (longest <= limit) break;
		for (int s = 0; s < symbols; s++)
			if (scaled[s]) scaled[s] = scaled[s] / 2 + 1;
	}
	assign_words(code, symbols);
}

/* ---- compressing ---- */

/* A literal (distance 0) or a match. */
struct token {
	uint16_t length, distance;
};

static struct token tokens[TEXT];
static int16_t head[1 << HASH_BITS], previous[TEXT];

static int last_not_above(const uint16_t *base, int count, int value)
{
	int low = 0, high = count - 1;
	while (low < high) {
		int middle = (low + high + 1) / 2;
		if (base[middle] <= value) low = middle;
		else high = middle - 1;
	}
	return low;
}

static unsigned hash3(const uint8_t *p) { return ((p[0] | p[1] << 8 | (uint32_t)p[2] << 16) * 2654435761u) >> (32 - HASH_BITS); }

static int longest_match(const uint8_t *text, int at, int *distance)
{
	int best = MIN_MATCH - 1, most = TEXT - at < MAX_MATCH ? TEXT - at : MAX_MATCH, chain = CHAIN;
	for (int candidate = head[hash3(text + at)]; candidate >= 0 && chain--; candidate = previous[candidate]) {
		if (best < most && text[candidate + best] != text[at + best]) continue;
		int length = 0;
		while (length < most && text[candidate + length] == text[at + length]) length++;
		if (length > best) {
			best = length;
			*distance = at - candidate;
			if (length == most) break;
		}
	}
	return best;
}

static void enter(const uint8_t *text, int at)
{
	if (at + MIN_MATCH > TEXT) return;
	unsigned hash = hash3(text + at);
	previous[at] = head[hash];
	head[hash] = (int16_t)at;
}

/* Finds matches, a byte later if that gives a longer one. Returns the number of tokens. */
static int tokenise(const uint8_t *text)
{
	int count = 0;
	memset(head, 0xff, sizeof head);
	for (int at = 0; at < TEXT;) {
		int distance = 0, length = at + MIN_MATCH <= TEXT ? longest_match(text, at, &distance) : 0;
		enter(text, at);
		if (length >= MIN_MATCH && length < 32 && at + 1 + MIN_MATCH <= TEXT) {
			int later = 0;
			if (longest_match(text, at + 1, &later) > length) length = 0;
		}
		if (length < MIN_MATCH) {
			tokens[count++] = (struct token){ text[at++], 0 };
			continue;
		}
		tokens[count++] = (struct token){ (uint16_t)length, (uint16_t)distance };
		for (int i = 1; i < length; i++) enter(text, at + i);
		at += length;
	}
	return count;
}

static size_t compress(const uint8_t *text, uint8_t *out)
{
	static struct code literals, distances, lengths;
	uint32_t literal_count[LITERALS] = { 0 }, distance_count[DISTANCES] = { 0 }, length_count[LENGTHS] = { 0 };
	int count = tokenise(text);
	for (int i = 0; i < count; i++) {
		if (!tokens[i].distance) {
			literal_count[tokens[i].length]++;
			continue;
		}
		literal_count[257 + last_not_above(length_base, 29, tokens[i].length)]++;
		distance_count[last_not_above(distance_base, DISTANCES, tokens[i].distance)]++;
	}
	literal_count[END] = 1;
	make_code(&literals, literal_count, LITERALS, MAX_BITS);
	make_code(&distances, distance_count, DISTANCES, MAX_BITS);

	struct bits b = { out, 0, 0, 0 };
	put(&b, 1, 1); /* the last block */
	put(&b, 2, 2); /* codes of its own */
	uint8_t all[LITERALS + DISTANCES];
	memcpy(all, literals.bits, LITERALS);
	memcpy(all + LITERALS, distances.bits, DISTANCES);
	/* Lengths of codes: runs of zeros are 17 or 18, all others are written one by one. */
	for (int writing = 0; writing < 2; writing++) {
		if (writing) {
			make_code(&lengths, length_count, LENGTHS, 7);
			put(&b, LITERALS - 257, 5);
			put(&b, DISTANCES - 1, 5);
			put(&b, LENGTHS - 4, 4);
			for (int i = 0; i < LENGTHS; i++) put(&b, lengths.bits[length_order[i]], 3);
		}
		for (int i = 0; i < LITERALS + DISTANCES;) {
			int run = 0;
			while (i + run < LITERALS + DISTANCES && run < 138 && !all[i + run]) run++;
			int symbol = run >= 11 ? 18 : run >= 3 ? 17 : all[i];
			if (!writing) length_count[symbol]++;
			else put(&b, lengths.word[symbol], lengths.bits[symbol]);
			if (writing && symbol == 18) put(&b, (uint32_t)run - 11, 7);
			if (writing && symbol == 17) put(&b, (uint32_t)run - 3, 3);
			i += symbol >= 17 ? run : 1;
		}
	}
	for (int i = 0; i < count; i++) {
		int length = tokens[i].length, distance = tokens[i].distance;
		if (!distance) {
			put(&b, literals.word[length], literals.bits[length]);
			continue;
		}
		int slot = last_not_above(length_base, 29, length);
		put(&b, literals.word[257 + slot], literals.bits[257 + slot]);
		put(&b, (uint32_t)(length - length_base[slot]), length_extra[slot]);
		slot = last_not_above(distance_base, DISTANCES, distance);
		put(&b, distances.word[slot], distances.bits[slot]);
		put(&b, (uint32_t)(distance - distance_base[slot]), distance_extra[slot]);
	}
	put(&b, literals.word[END], literals.bits[END]);
	put(&b, 0, 7);
	return b.at;
}

/* ---- inflating ---- */

/* A canonical code for reading: how many words of each length there are, and the symbols in the order of their words. */
struct reader {
	uint16_t count[MAX_BITS + 1], symbol[LITERALS];
};

static void make_reader(struct reader *reader, const uint8_t *bits, int symbols)
{
	uint16_t offset[MAX_BITS + 2] = { 0 };
	memset(reader->count, 0, sizeof reader->count);
	for (int s = 0; s < symbols; s++) reader->count[bits[s]]++;
	reader->count[0] = 0;
	for (int length = 1; length <= MAX_BITS; length++) offset[length + 1] = (uint16_t)(offset[length] + reader->count[length]);
	for (int s = 0; s < symbols; s++)
		if (bits[s]) reader->symbol[offset[bits[s]]++] = (uint16_t)s;
}

static int next_symbol(struct bits *b, const struct reader *reader)
{
	int word = 0, first = 0, index = 0;
	for (int length = 1; length <= MAX_BITS; length++) {
		word |= (int)take(b, 1);
		int count = reader->count[length];
		if (word - first < count) return reader->symbol[index + word - first];
		index += count;
		first = (first + count) << 1;
		word <<= 1;
	}
	require(0, "a word of the code");
	return 0;
}

static size_t inflate(uint8_t *data, uint8_t *out)
{
	static struct reader literals, distances, lengths;
	struct bits b = { data, 0, 0, 0 };
	require(take(&b, 1) == 1 && take(&b, 2) == 2, "one block with codes of its own");
	int literal_codes = 257 + (int)take(&b, 5), distance_codes = 1 + (int)take(&b, 5), length_codes = 4 + (int)take(&b, 4);
	uint8_t bits[LITERALS + DISTANCES] = { 0 };
	require(literal_codes <= LITERALS && distance_codes <= DISTANCES, "codes of a known size");
	for (int i = 0; i < length_codes; i++) bits[length_order[i]] = (uint8_t)take(&b, 3);
	make_reader(&lengths, bits, LENGTHS);
	memset(bits, 0, LENGTHS);
	for (int i = 0; i < literal_codes + distance_codes;) {
		int symbol = next_symbol(&b, &lengths);
		if (symbol < 16) bits[i++] = (uint8_t)symbol;
		else if (symbol == 17) i += 3 + (int)take(&b, 3);
		else if (symbol == 18) i += 11 + (int)take(&b, 7);
		else require(0, "no length is repeated");
	}
	make_reader(&literals, bits, literal_codes);
	make_reader(&distances, bits + literal_codes, distance_codes);
	size_t at = 0;
	for (int symbol; (symbol = next_symbol(&b, &literals)) != END;) {
		if (symbol < END) {
			require(at < TEXT, "no more text than there was");
			out[at++] = (uint8_t)symbol;
			continue;
		}
		symbol -= 257;
		require(symbol < 29, "a length");
		size_t length = length_base[symbol] + take(&b, length_extra[symbol]);
		symbol = next_symbol(&b, &distances);
		size_t distance = distance_base[symbol] + take(&b, distance_extra[symbol]);
		require(distance <= at && at + length <= TEXT, "a match within the text");
		for (size_t i = 0; i < length; i++, at++) out[at] = out[at - distance];
	}
	return at;
}

int64_t run(int32_t amount)
{
	static uint8_t text[TEXT], compressed[OUT], back[TEXT];
	uint64_t hash = HASH_START;
	for (int32_t i = 0; i < amount; i++) {
		random_text(mixed((uint64_t)i + 1), (char *)text, TEXT);
		size_t size = compress(text, compressed);
		require(inflate(compressed, back) == TEXT && !memcmp(text, back, TEXT), "the same text comes back");
		hash = hashed(hash ^ size, compressed, size);
	}
	return (int64_t)hash;
}

KERNEL("deflate", 150)
