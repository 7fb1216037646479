/* Regular expressions, by automata: a pattern is parsed, becomes a nondeterministic automaton (Thompson's construction), and is made
 * deterministic state by state as text calls for it, with a bounded cache. run(amount) searches `amount` logs of 16 KiB for eight
 * patterns, line by line, and returns a hash of where the leftmost longest matches are. */
#include "input.h"

enum { TEXT = 16384, STATES = 256, CACHE = 128, MATCH = 256, SPLIT = 257, SET = 258, DEAD = 0, UNKNOWN = -1 };

/* A state of the nondeterministic automaton: a byte, a set of bytes, a split or the match. */
struct state {
	int16_t what, set, next, other;
};

struct pattern {
	struct state states[STATES];
	uint8_t sets[16][32]; /* a bit for each byte */
	int count, set_count, start;
	/* The cache of deterministic states: sets of states, sorted. State 0 has none. */
	int16_t members[CACHE][STATES], sizes[CACHE], edges[CACHE][256];
	uint8_t accepts[CACHE];
	int cached, first;
};

/* ---- parsing: a piece of the automaton has one entry and one state whose way out is open ---- */

struct piece {
	int16_t in, out;
};

static struct pattern *compiling;
static const char *source;

static struct piece parse_alternatives(void);

static int16_t add_state(int what, int set, int next, int other)
{
	require(compiling->count < STATES, "room for states");
	compiling->states[compiling->count] = (struct state){ (int16_t)what, (int16_t)set, (int16_t)next, (int16_t)other };
	return (int16_t)compiling->count++;
}

/* A split that only joins: one way. */
static int16_t add_join(void) { return add_state(SPLIT, 0, -1, -1); }

static uint8_t *add_set(void)
{
	require(compiling->set_count < 16, "room for sets");
	return compiling->sets[compiling->set_count++];
}

static void add_range(uint8_t *set, int from, int to)
{
	for (int c = from; c <= to; c++) set[c >> 3] |= (uint8_t)(1 << (c & 7));
}

static void add_class(uint8_t *set, char name)
{
	if (name == 'd' || name == 'w') add_range(set, '0', '9');
	if (name == 'w') add_range(set, 'a', 'z'), add_range(set, 'A', 'Z'), add_range(set, '_', '_');
	if (name == 's') add_range(set, ' ', ' '), add_range(set, '\t', '\t');
}

static struct piece parse_set(void)
{
	uint8_t *set = add_set();
	int negated = *source == '^';
	source += negated;
	while (*source != ']') {
		require(*source != 0, "the end of a set");
		if (*source == '\\') {
			add_class(set, source[1]);
			source += 2;
		} else if (source[1] == '-' && source[2] != ']') {
			add_range(set, (unsigned char)source[0], (unsigned char)source[2]);
			source += 3;
		} else {
			add_range(set, (unsigned char)*source, (unsigned char)*source);
			source++;
		}
	}
	source++;
	for (int i = 0; negated && i < 32; i++) set[i] = (uint8_t)~set[i];
	int16_t state = add_state(SET, compiling->set_count - 1, -1, -1);
	return (struct piece){ state, state };
}

static struct piece parse_atom(void)
{
	char c = *source++;
	if (c == '(') {
		struct piece inner = parse_alternatives();
		require(*source++ == ')', "the end of a group");
		return inner;
	}
	if (c == '[') return parse_set();
	if (c == '.') {
		add_range(add_set(), 0, 255);
		int16_t any = add_state(SET, compiling->set_count - 1, -1, -1);
		return (struct piece){ any, any };
	}
	if (c == '\\') {
		c = *source++;
		if (c == 'd' || c == 'w' || c == 's') {
			add_class(add_set(), c);
			int16_t class = add_state(SET, compiling->set_count - 1, -1, -1);
			return (struct piece){ class, class };
		}
	}
	int16_t byte = add_state((unsigned char)c, 0, -1, -1);
	return (struct piece){ byte, byte };
}

static struct piece parse_repeated(void)
{
	const char *from = source;
	struct piece piece = parse_atom();
	for (;; ) {
		char c = *source;
		if (c == '{') { /* {n}: the atom so often */
			const char *after;
			int times = (int)strtol(source + 1, (char **)&after, 10);
			require(*after == '}' && times > 0, "a number of times");
			for (int i = 1; i < times; i++) {
				source = from;
				struct piece again = parse_atom();
				compiling->states[piece.out].next = again.in;
				piece.out = again.out;
			}
			source = after + 1;
			continue;
		}
		if (c != '*' && c != '+' && c != '?') return piece;
		source++;
		int16_t out = add_join(), split = add_state(SPLIT, 0, piece.in, out);
		compiling->states[piece.out].next = c == '?' ? out : split;
		piece = (struct piece){ c == '+' ? piece.in : split, out };
	}
}

static struct piece parse_sequence(void)
{
	int16_t start = add_join();
	struct piece all = { start, start };
	while (*source && *source != '|' && *source != ')') {
		struct piece next = parse_repeated();
		compiling->states[all.out].next = next.in;
		all.out = next.out;
	}
	return all;
}

static struct piece parse_alternatives(void)
{
	struct piece all = parse_sequence();
	while (*source == '|') {
		source++;
		struct piece other = parse_sequence();
		int16_t split = add_state(SPLIT, 0, all.in, other.in), out = add_join();
		compiling->states[all.out].next = compiling->states[other.out].next = out;
		all = (struct piece){ split, out };
	}
	return all;
}

/* ---- matching ---- */

struct set {
	uint8_t has[STATES];
	int16_t members[STATES];
	int size;
};

static void add_closure(const struct pattern *p, struct set *set, int16_t state)
{
	if (state < 0 || set->has[state]) return;
	set->has[state] = 1;
	if (p->states[state].what == SPLIT) {
		add_closure(p, set, p->states[state].next);
		add_closure(p, set, p->states[state].other);
	} else {
		set->members[set->size++] = state;
	}
}

static void forget(struct pattern *p)
{
	p->cached = 1;
	p->sizes[DEAD] = p->accepts[DEAD] = 0;
	memset(p->edges[DEAD], 0, sizeof p->edges[DEAD]);
	p->first = UNKNOWN;
}

/* The deterministic state of a set, which it may enter into the cache. */
static int intern(struct pattern *p, struct set *set)
{
	int16_t sorted[STATES];
	int size = 0, accepts = 0;
	for (int16_t s = 0; s < p->count; s++)
		if (set->has[s] && p->states[s].what != SPLIT) {
			sorted[size++] = s;
			accepts |= p->states[s].what == MATCH;
		}
	for (int i = 0; i < p->cached; i++)
		if (p->sizes[i] == size && !memcmp(p->members[i], sorted, (size_t)size * sizeof *sorted)) return i;
	if (p->cached == CACHE) forget(p);
	int made = p->cached++;
	memcpy(p->members[made], sorted, (size_t)size * sizeof *sorted);
	memset(p->edges[made], 0xff, sizeof p->edges[made]);
	p->sizes[made] = (int16_t)size;
	p->accepts[made] = (uint8_t)accepts;
	return made;
}

static int step(struct pattern *p, int from, unsigned char byte)
{
	static struct set set;
	memset(set.has, 0, (size_t)p->count);
	set.size = 0;
	for (int i = 0; i < p->sizes[from]; i++) {
		const struct state *s = &p->states[p->members[from][i]];
		if (s->what == byte || (s->what == SET && p->sets[s->set][byte >> 3] >> (byte & 7) & 1)) add_closure(p, &set, s->next);
	}
	int known = p->cached, to = intern(p, &set);
	/* If the cache was emptied meanwhile, `from` is something else now. */
	if (p->cached >= known) p->edges[from][byte] = (int16_t)to;
	return to;
}

static void compile(struct pattern *p, const char *text)
{
	memset(p, 0, sizeof *p);
	compiling = p;
	source = text;
	struct piece all = parse_alternatives();
	require(*source == 0, "the end of the pattern");
	p->states[all.out].next = add_state(MATCH, 0, -1, -1);
	p->start = all.in;
	forget(p);
}

/* The length of the longest match at the start of a text, or -1. */
static int longest(struct pattern *p, const char *text, int length)
{
	if (p->first == UNKNOWN) {
		static struct set set;
		memset(&set, 0, sizeof set);
		add_closure(p, &set, (int16_t)p->start);
		p->first = intern(p, &set);
	}
	int state = p->first, best = p->accepts[state] ? 0 : -1;
	for (int i = 0; i < length; i++) {
		unsigned char byte = (unsigned char)text[i];
		int next = p->edges[state][byte];
		state = next != UNKNOWN ? next : step(p, state, byte);
		if (state == DEAD) break;
		if (p->accepts[state]) best = i + 1;
	}
	return best;
}

/* ---- logs ---- */

static int random_log(uint64_t state, char *text)
{
	static const char *const levels[] = { "INFO", "WARN", "ERROR", "DEBUG" };
	static const char *const methods[] = { "GET", "POST", "PUT", "DELETE" };
	char word[24];
	int at = 0;
	while (at < TEXT - 256) {
		uint32_t n[12];
		for (int i = 0; i < 12; i++) n[i] = random_below(&state, i < 6 ? 60 : 256);
		at += snprintf(text + at, 128, "2026-%02u-%02u %02u:%02u:%02u.%03u [%s] %u.%u.%u.%u %s /", 1 + n[0] % 12, 1 + n[1] % 28, n[2] % 24, n[3], n[4],
			n[5] * 16, levels[n[6] % 4], n[7], n[8], n[9], n[10], methods[n[11] % 4]);
		for (int parts = 1 + (int)random_below(&state, 4); parts; parts--) {
			size_t length = random_word(&state, word, sizeof word);
			memcpy(text + at, word, length);
			at += (int)length;
			text[at++] = parts > 1 ? '/' : random_below(&state, 3) ? ' ' : '.';
		}
		size_t user = random_word(&state, word, sizeof word);
		uint32_t took = random_below(&state, 5000), trace = next_random(&state);
		at += snprintf(text + at, 96, "user=%.*s@%.*s.org t=%ums 0x%08x\n", (int)user, word, (int)(user > 6 ? 6 : user), word, took, trace);
	}
	return at;
}

int64_t run(int32_t amount)
{
	static const char *const sources[] = {
		"\\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d", "(\\d+\\.){3}\\d+", "ERROR|WARN", "[\\w.]+@\\w+\\.(org|com)",
		"(GET|PUT) /([a-z]+/)+[a-z]*", "0x[0-9a-f]*(dead|beef|00|ff)[0-9a-f]*", "t=[1-4]\\d\\d\\dms", "(an|be|com)(a|e|i|o|u|n|r)*(ter|ing|on)\\.",
	};
	enum { PATTERNS = sizeof sources / sizeof *sources };
	static struct pattern patterns[PATTERNS];
	static char text[TEXT];
	uint64_t hash = HASH_START;
	for (int i = 0; i < PATTERNS; i++) compile(&patterns[i], sources[i]);
	for (int32_t i = 0; i < amount; i++) {
		int length = random_log(mixed((uint64_t)i), text);
		for (int k = 0; k < PATTERNS; k++) {
			for (int line = 0; line < length;) {
				const char *stop = memchr(text + line, '\n', (size_t)(length - line));
				int line_end = stop ? (int)(stop - text) : length;
				for (int at = line; at < line_end;) {
					int match = longest(&patterns[k], text + at, line_end - at);
					if (match <= 0) {
						at++;
						continue;
					}
					hash = hashed(hash, (int[]){ k, at, match }, 3 * sizeof(int));
					at += match;
				}
				line = line_end + 1;
			}
		}
	}
	return (int64_t)hash;
}

KERNEL("regex", 200)
