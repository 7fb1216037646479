/* A hash table with open addressing (Robin Hood: an entry that is far from its place takes the place of one that is near), which
 * grows as it fills, with strings for keys. run(amount) reads `amount` texts of 16 KiB, counts their words, forgets the rare ones
 * now and then, and returns a hash of words and counts in the order of the counts. */
#include "input.h"

enum { TEXT = 16384, EVERY = 16, MOST_SLOTS = 1 << 16, NAMES = 1 << 20 };

struct entry {
	uint64_t hash; /* zero: none */
	uint32_t name, length, count;
};

static struct entry tables[2][MOST_SLOTS], *table;
static char names[2][NAMES], *name_room;
static uint32_t slots, used, names_used;

static uint32_t distance(uint64_t hash, uint32_t slot) { return (slot - (uint32_t)hash) & (slots - 1); }

/* Places an entry that is not in the table. */
static void place(struct entry entry)
{
	for (uint32_t slot = (uint32_t)entry.hash & (slots - 1), away = 0;; slot = (slot + 1) & (slots - 1), away++) {
		if (!table[slot].hash) {
			table[slot] = entry;
			used++;
			return;
		}
		uint32_t theirs = distance(table[slot].hash, slot);
		if (theirs < away) {
			struct entry moved = table[slot];
			table[slot] = entry;
			entry = moved;
			away = theirs;
		}
	}
}

/* Moves all entries that occur at least so often to the other table, which gets so many slots. */
static void rebuild(uint32_t new_slots, uint32_t least)
{
	struct entry *old = table;
	const char *old_names = name_room;
	uint32_t old_slots = slots;
	require(new_slots <= MOST_SLOTS, "room in the table");
	table = old == tables[0] ? tables[1] : tables[0];
	name_room = old_names == names[0] ? names[1] : names[0];
	slots = new_slots;
	used = names_used = 0;
	memset(table, 0, slots * sizeof *table);
	for (uint32_t i = 0; i < old_slots; i++) {
		struct entry entry = old[i];
		if (!entry.hash || entry.count < least) continue;
		memcpy(name_room + names_used, old_names + entry.name, entry.length);
		entry.name = names_used;
		names_used += entry.length;
		place(entry);
	}
}

static uint64_t hash_of(const char *word, uint32_t length)
{
	uint64_t hash = length * 0x9e3779b97f4a7c15ull, part;
	for (; length >= 8; word += 8, length -= 8) {
		memcpy(&part, word, 8);
		hash = mixed(hash ^ part);
	}
	part = 0;
	memcpy(&part, word, length);
	return mixed(hash ^ part) | 1ull << 63;
}

static void count_word(const char *word, uint32_t length)
{
	uint64_t hash = hash_of(word, length);
	uint32_t slot = (uint32_t)hash & (slots - 1);
	for (uint32_t away = 0; table[slot].hash && distance(table[slot].hash, slot) >= away; away++) {
		struct entry *entry = &table[slot];
		if (entry->hash == hash && entry->length == length && !memcmp(name_room + entry->name, word, length)) {
			entry->count++;
			return;
		}
		slot = (slot + 1) & (slots - 1);
	}
	if ((used + 1) * 8 > slots * 7) rebuild(slots * 2, 0);
	require(names_used + length <= NAMES, "room for names");
	memcpy(name_room + names_used, word, length);
	place((struct entry){ hash, names_used, length, 1 });
	names_used += length;
}

static int by_count(const void *left, const void *right)
{
	const struct entry *a = left, *b = right;
	if (a->count != b->count) return a->count < b->count ? 1 : -1;
	return a->hash < b->hash ? -1 : a->hash > b->hash;
}

/* A hash over the entries, the most frequent first. */
static uint64_t ranking(void)
{
	struct entry *sorted = table == tables[0] ? tables[1] : tables[0];
	uint32_t count = 0;
	for (uint32_t i = 0; i < slots; i++)
		if (table[i].hash) sorted[count++] = table[i];
	require(count == used, "no entry is lost");
	qsort(sorted, count, sizeof *sorted, by_count);
	uint64_t hash = HASH_START;
	for (uint32_t i = 0; i < count; i++) {
		hash = hashed(hash, name_room + sorted[i].name, sorted[i].length);
		hash = hashed(hash, &sorted[i].count, sizeof sorted[i].count);
	}
	return hash;
}

int64_t run(int32_t amount)
{
	static char text[TEXT];
	uint64_t hash = HASH_START;
	table = tables[0];
	name_room = names[0];
	slots = 64;
	used = names_used = 0;
	memset(table, 0, slots * sizeof *table);
	for (int32_t i = 0; i < amount; i++) {
		random_text(mixed((uint64_t)i + 1), text, TEXT);
		for (uint32_t at = 0; at < TEXT;) {
			uint32_t start = at;
			while (at < TEXT && text[at] >= 'a' && text[at] <= 'z') at++;
			if (at > start) count_word(text + start, at - start);
			else at++;
		}
		if (i % EVERY == EVERY - 1) {
			hash = hashed(hash, &used, sizeof used) ^ ranking();
			rebuild(slots, 3 + (uint32_t)i / 64);
		}
	}
	return (int64_t)(hash ^ ranking());
}

KERNEL("wordcount", 300)
