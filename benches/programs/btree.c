/* A database index as SQLite has it: a B-tree of pages of 1 KiB, with cells of varying size behind an array of sorted offsets. Pages
 * split when they are full; cells are deleted in place. run(amount) makes `amount` batches of 200 random operations (insert or
 * replace, look up, delete, scan a range) on a fresh tree, and returns a hash of all that was read. */
#include "input.h"
#include <stddef.h>

enum { PAGE = 1024, PAGES = 8192, KEY_ROOM = 48, DEPTH = 12, KEYS = 30000, BATCH = 200 };

/* A page: the header, `count` offsets of cells in the order of their keys, free room, cells (from the end of the page on). */
struct page {
	uint16_t leaf, count, cells_start, garbage; /* garbage: bytes of cells that were deleted */
	uint32_t rightmost; /* of an inner page: the child behind all cells. Of a leaf: the leaf to its right, or 0 */
	uint16_t offset[(PAGE - 12) / 2];
};

/* A cell: a byte for the length of the key, the key, and then eight bytes of value (leaf) or four of a child whose keys are
 * not greater (inner page). */
static union { struct page page; uint8_t bytes[PAGE]; } pages[PAGES];
static uint32_t root, next_page;

struct key {
	int length;
	uint8_t bytes[KEY_ROOM];
};

static struct page *page_at(uint32_t number) { return &pages[number].page; }
static uint8_t *cell_at(struct page *p, int index) { return (uint8_t *)p + p->offset[index]; }
static int value_size(const struct page *p) { return p->leaf ? 8 : 4; }
static int cell_size(const struct page *p, const uint8_t *cell) { return 1 + cell[0] + value_size(p); }
static int free_room(const struct page *p) { return p->cells_start - (int)offsetof(struct page, offset) - 2 * p->count; }

static uint32_t child_at(struct page *p, int index)
{
	if (index == p->count) return p->rightmost;
	uint32_t child;
	uint8_t *cell = cell_at(p, index);
	memcpy(&child, cell + 1 + cell[0], sizeof child);
	return child;
}

static uint32_t new_page(int leaf)
{
	require(next_page < PAGES, "a page is free");
	struct page *p = page_at(next_page);
	*p = (struct page){ .leaf = (uint16_t)leaf, .cells_start = PAGE };
	return next_page++;
}

static int compare(const uint8_t *cell, const struct key *key)
{
	int shorter = cell[0] < key->length ? cell[0] : key->length;
	int order = memcmp(cell + 1, key->bytes, (size_t)shorter);
	return order ? order : cell[0] - key->length;
}

/* The first cell whose key is not less. */
static int search(struct page *p, const struct key *key)
{
	int low = 0, high = p->count;
	while (low < high) {
		int middle = (low + high) / 2;
		if (compare(cell_at(p, middle), key) < 0) low = middle + 1;
		else high = middle;
	}
	return low;
}

/* Moves all cells to the end of the page, so that the free room is in one piece. */
static void compact(struct page *p)
{
	uint8_t copy[PAGE];
	memcpy(copy, p, PAGE);
	int to = PAGE;
	for (int i = 0; i < p->count; i++) {
		uint8_t *cell = copy + p->offset[i];
		int size = cell_size(p, cell);
		to -= size;
		memcpy((uint8_t *)p + to, cell, (size_t)size);
		p->offset[i] = (uint16_t)to;
	}
	p->cells_start = (uint16_t)to;
	p->garbage = 0;
}

static int fits(struct page *p, int size)
{
	if (free_room(p) >= size + 2) return 1;
	if (free_room(p) + p->garbage < size + 2) return 0;
	compact(p);
	return 1;
}

/* The caller knows that it fits. */
static void add_cell(struct page *p, int index, const uint8_t *cell, int size)
{
	p->cells_start = (uint16_t)(p->cells_start - size);
	memcpy((uint8_t *)p + p->cells_start, cell, (size_t)size);
	memmove(&p->offset[index + 1], &p->offset[index], (size_t)(p->count - index) * 2);
	p->offset[index] = p->cells_start;
	p->count++;
}

static void remove_cell(struct page *p, int index)
{
	p->garbage = (uint16_t)(p->garbage + cell_size(p, cell_at(p, index)));
	p->count--;
	memmove(&p->offset[index], &p->offset[index + 1], (size_t)(p->count - index) * 2);
}

static int make_cell(uint8_t *cell, const uint8_t *key, int length, const void *value, int size)
{
	cell[0] = (uint8_t)length;
	memcpy(cell + 1, key, (size_t)length);
	memcpy(cell + 1 + length, value, (size_t)size);
	return 1 + length + size;
}

/* Moves the greater half of a page to a new one. The separator is the greatest key that stays. */
static uint32_t split(uint32_t number, struct key *separator)
{
	struct page *p = page_at(number);
	uint32_t right_number = new_page(p->leaf);
	struct page *right = page_at(right_number);
	int middle = p->count / 2, from = middle;
	for (int i = from; i < p->count; i++) {
		uint8_t *cell = cell_at(p, i);
		add_cell(right, i - from, cell, cell_size(p, cell));
	}
	right->rightmost = p->rightmost;
	p->count = (uint16_t)middle;
	uint8_t *last = cell_at(p, middle - 1);
	separator->length = last[0];
	memcpy(separator->bytes, last + 1, last[0]);
	if (p->leaf) {
		p->rightmost = right_number;
	} else {
		p->rightmost = child_at(p, middle - 1);
		p->count--;
	}
	compact(p);
	return right_number;
}

/* The leaf where a key belongs, and the way there. */
static uint32_t descend(const struct key *key, uint32_t *path, int *way, int *depth)
{
	uint32_t number = root;
	*depth = 0;
	while (!page_at(number)->leaf) {
		struct page *p = page_at(number);
		require(*depth < DEPTH, "the tree is not as deep");
		path[*depth] = number;
		way[*depth] = search(p, key);
		number = child_at(p, way[(*depth)++]);
	}
	return number;
}

/* Puts a cell into a page, which it may split; then the parent gets a cell, and so on up to a new root. */
static void insert_up(uint32_t number, const struct key *key, const void *value, uint32_t *path, int *way, int depth)
{
	uint8_t cell[KEY_ROOM + 16];
	int size = make_cell(cell, key->bytes, key->length, value, value_size(page_at(number)));
	for (;;) {
		struct page *p = page_at(number);
		struct key separator;
		if (fits(p, size)) {
			struct key own = { cell[0], { 0 } };
			memcpy(own.bytes, cell + 1, cell[0]);
			add_cell(p, search(p, &own), cell, size);
			return;
		}
		uint32_t right = split(number, &separator);
		struct key own = { cell[0], { 0 } };
		memcpy(own.bytes, cell + 1, cell[0]);
		uint8_t last[KEY_ROOM + 1] = { (uint8_t)separator.length };
		memcpy(last + 1, separator.bytes, (size_t)separator.length);
		struct page *half = page_at(compare(last, &own) < 0 ? right : number);
		require(fits(half, size), "half of a page is free after a split");
		add_cell(half, search(half, &own), cell, size);
		if (depth == 0) {
			root = new_page(0);
			page_at(root)->rightmost = right;
			size = make_cell(cell, separator.bytes, separator.length, &number, 4);
			add_cell(page_at(root), 0, cell, size);
			return;
		}
		/* The parent's cell for this page now means its right half. */
		uint32_t left = number;
		number = path[--depth];
		p = page_at(number);
		int index = way[depth];
		if (index == p->count) {
			p->rightmost = right;
		} else {
			uint8_t *old = cell_at(p, index);
			memcpy(old + 1 + old[0], &right, 4);
		}
		size = make_cell(cell, separator.bytes, separator.length, &left, 4);
	}
}

static uint8_t *find(const struct key *key)
{
	uint32_t path[DEPTH];
	int way[DEPTH], depth;
	struct page *p = page_at(descend(key, path, way, &depth));
	int index = search(p, key);
	return index < p->count && !compare(cell_at(p, index), key) ? cell_at(p, index) : NULL;
}

static void put(const struct key *key, uint64_t value)
{
	uint32_t path[DEPTH];
	int way[DEPTH], depth;
	uint32_t number = descend(key, path, way, &depth);
	struct page *p = page_at(number);
	int index = search(p, key);
	if (index < p->count && !compare(cell_at(p, index), key)) {
		uint8_t *cell = cell_at(p, index);
		memcpy(cell + 1 + cell[0], &value, sizeof value);
		return;
	}
	insert_up(number, key, &value, path, way, depth);
}

static int delete(const struct key *key)
{
	uint32_t path[DEPTH];
	int way[DEPTH], depth;
	struct page *p = page_at(descend(key, path, way, &depth));
	int index = search(p, key);
	if (index == p->count || compare(cell_at(p, index), key)) return 0;
	remove_cell(p, index);
	return 1;
}

/* A hash over up to `most` cells from a key on. */
static uint64_t scan(const struct key *key, int most)
{
	uint32_t path[DEPTH];
	int way[DEPTH], depth;
	uint64_t hash = HASH_START;
	uint32_t number = descend(key, path, way, &depth);
	int index = search(page_at(number), key);
	for (;;) {
		struct page *p = page_at(number);
		for (; index < p->count; index++) {
			if (most-- == 0) return hash;
			uint8_t *cell = cell_at(p, index);
			hash = hashed(hash, cell, (size_t)cell_size(p, cell));
		}
		if (!p->rightmost) return hash;
		number = p->rightmost;
		index = 0;
	}
}

/* Keys look like those of a table of customers, and differ in length. */
static void make_key(struct key *key, uint32_t id)
{
	static const char *const groups[] = { "invoice", "customer", "order", "item", "address" };
	const char *group = groups[id % 5];
	int at = (int)strlen(group);
	memcpy(key->bytes, group, (size_t)at);
	key->bytes[at++] = ':';
	for (uint64_t rest = mixed(id) >> (id % 24); rest; rest /= 26) key->bytes[at++] = (uint8_t)('a' + rest % 26);
	key->length = at;
}

int64_t run(int32_t amount)
{
	static uint8_t present[KEYS];
	uint64_t state = 88172645463325252u, hash = HASH_START;
	memset(present, 0, sizeof present);
	next_page = 1; /* zero is no page */
	root = new_page(1);
	for (int64_t i = 0; i < (int64_t)amount * BATCH; i++) {
		uint32_t id = random_below(&state, KEYS), kind = random_below(&state, 16);
		struct key key;
		make_key(&key, id);
		if (kind < 6) {
			put(&key, mixed(id) ^ (uint64_t)i);
			present[id] = 1;
		} else if (kind < 13) {
			uint8_t *cell = find(&key);
			require(!cell == !present[id], "what was put is found");
			if (cell) hash = hashed(hash, cell, (size_t)(9 + cell[0]));
		} else if (kind < 15) {
			require(delete(&key) == present[id], "what was put is deleted");
			present[id] = 0;
		} else {
			hash ^= scan(&key, 30);
		}
	}
	return (int64_t)hash;
}

KERNEL("btree", 500)
