/* JSON (RFC 8259): parses documents into a tree and prints the tree again. run(amount) makes `amount` documents of about 16 KiB, reads
 * each with its blanks and escapes, prints it without, reads what was printed, and returns a hash of all that was printed. */
#include "input.h"

enum { TEXT = 24576, NODES = 8192, DEPTH = 32, STRINGS = 32768 };

enum kind { NONE, FALSE, TRUE, NUMBER, STRING, ARRAY, OBJECT };

struct node {
	enum kind kind;
	uint32_t name, name_length; /* of a member of an object, in `strings` */
	uint32_t start, length;     /* of a string */
	double number;
	struct node *first, *next;
};

static struct node nodes[NODES];
static char strings[STRINGS];
static uint32_t nodes_used, strings_used;

/* ---- parsing ---- */

static const char *at, *end;

static void skip_blanks(void)
{
	while (at < end && (*at == ' ' || *at == '\n' || *at == '\t' || *at == '\r')) at++;
}

static char next(void)
{
	require(at < end, "the document goes on");
	return *at++;
}

static void expect(char c) { require(next() == c, "the expected character"); }

static void add_byte(unsigned byte)
{
	require(strings_used < STRINGS, "room for strings");
	strings[strings_used++] = (char)byte;
}

static void add_character(uint32_t c)
{
	if (c < 0x80) {
		add_byte(c);
	} else if (c < 0x800) {
		add_byte(0xc0 | c >> 6);
		add_byte(0x80 | (c & 63));
	} else if (c < 0x10000) {
		add_byte(0xe0 | c >> 12);
		add_byte(0x80 | (c >> 6 & 63));
		add_byte(0x80 | (c & 63));
	} else {
		add_byte(0xf0 | c >> 18);
		add_byte(0x80 | (c >> 12 & 63));
		add_byte(0x80 | (c >> 6 & 63));
		add_byte(0x80 | (c & 63));
	}
}

static uint32_t four_digits(void)
{
	uint32_t value = 0;
	for (int i = 0; i < 4; i++) {
		char c = next();
		int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
		require(digit >= 0, "a hexadecimal digit");
		value = value << 4 | (uint32_t)digit;
	}
	return value;
}

/* A string without its first quotation mark. */
static uint32_t parse_string(uint32_t *length)
{
	uint32_t start = strings_used;
	for (;;) {
		char c = next();
		if (c == '"') break;
		require((unsigned char)c >= 0x20, "no control characters in strings");
		if (c != '\\') {
			add_byte((unsigned char)c);
			continue;
		}
		switch (c = next()) {
		case '"': case '\\': case '/': add_byte((unsigned char)c); break;
		case 'b': add_byte('\b'); break;
		case 'f': add_byte('\f'); break;
		case 'n': add_byte('\n'); break;
		case 'r': add_byte('\r'); break;
		case 't': add_byte('\t'); break;
		case 'u': {
			uint32_t high = four_digits();
			if (high >= 0xd800 && high < 0xdc00) {
				expect('\\');
				expect('u');
				uint32_t low = four_digits();
				require(low >= 0xdc00 && low < 0xe000, "the second half of a pair");
				high = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
			}
			add_character(high);
			break;
		}
		default: require(0, "a known escape");
		}
	}
	*length = strings_used - start;
	return start;
}

/* Exact for as many digits as the documents have: an integer below 2^53, and a power of ten below 10^22. */
static double parse_number(void)
{
	static const double powers[] = { 1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12 };
	int negative = *at == '-', decimals = 0, exponent = 0;
	uint64_t digits = 0;
	at += negative;
	require(at < end && *at >= '0' && *at <= '9', "a digit");
	while (at < end && *at >= '0' && *at <= '9') digits = digits * 10 + (uint64_t)(*at++ - '0');
	if (at < end && *at == '.') {
		at++;
		for (; at < end && *at >= '0' && *at <= '9'; decimals++) digits = digits * 10 + (uint64_t)(*at++ - '0');
	}
	if (at < end && (*at == 'e' || *at == 'E')) {
		at++;
		int minus = at < end && *at == '-';
		if (at < end && (*at == '-' || *at == '+')) at++;
		while (at < end && *at >= '0' && *at <= '9') exponent = exponent * 10 + (*at++ - '0');
		if (minus) exponent = -exponent;
	}
	exponent -= decimals;
	require(exponent >= -12 && exponent <= 12, "an exponent in range");
	double value = exponent < 0 ? (double)digits / powers[-exponent] : (double)digits * powers[exponent];
	return negative ? -value : value;
}

static void word(const char *rest)
{
	while (*rest) expect(*rest++);
}

static struct node *parse_value(int depth)
{
	require(depth < DEPTH && nodes_used < NODES, "room for nodes");
	struct node *node = &nodes[nodes_used++];
	*node = (struct node){ 0 };
	skip_blanks();
	char c = next();
	switch (c) {
	case 'n': word("ull"); break;
	case 'f': node->kind = FALSE; word("alse"); break;
	case 't': node->kind = TRUE; word("rue"); break;
	case '"':
		node->kind = STRING;
		node->start = parse_string(&node->length);
		break;
	case '[': case '{': {
		char close = c == '[' ? ']' : '}';
		node->kind = c == '[' ? ARRAY : OBJECT;
		struct node **last = &node->first;
		skip_blanks();
		if (at < end && *at == close) {
			at++;
			break;
		}
		for (;;) {
			uint32_t name = 0, name_length = 0;
			if (node->kind == OBJECT) {
				skip_blanks();
				expect('"');
				name = parse_string(&name_length);
				skip_blanks();
				expect(':');
			}
			struct node *child = parse_value(depth + 1);
			child->name = name;
			child->name_length = name_length;
			*last = child;
			last = &child->next;
			skip_blanks();
			c = next();
			if (c == close) break;
			require(c == ',', "a comma");
		}
		break;
	}
	default:
		at--;
		node->kind = NUMBER;
		node->number = parse_number();
	}
	return node;
}

static struct node *parse(const char *text, size_t length)
{
	nodes_used = strings_used = 0;
	at = text;
	end = text + length;
	struct node *node = parse_value(0);
	skip_blanks();
	require(at == end, "nothing behind the document");
	return node;
}

/* ---- printing ---- */

struct text {
	char bytes[TEXT];
	size_t length;
};

static void put(struct text *to, const char *bytes, size_t length)
{
	require(to->length + length <= TEXT, "room for the document");
	memcpy(to->bytes + to->length, bytes, length);
	to->length += length;
}

static void put_text(struct text *to, const char *text) { put(to, text, strlen(text)); }

static void print_string(struct text *to, const char *bytes, uint32_t length)
{
	put(to, "\"", 1);
	uint32_t from = 0;
	for (uint32_t i = 0; i < length; i++) {
		unsigned char c = (unsigned char)bytes[i];
		if (c >= 0x20 && c != '"' && c != '\\') continue;
		put(to, bytes + from, i - from);
		from = i + 1;
		char escape[6] = { '\\', 'u', '0', '0', "0123456789abcdef"[c >> 4], "0123456789abcdef"[c & 15] };
		const char *letter = strchr("\"\"\\\\\bb\ff\nn\rr\tt", c);
		if (c && letter) put(to, (char[]){ '\\', letter[1] }, 2);
		else put(to, escape, 6);
	}
	put(to, bytes + from, length - from);
	put(to, "\"", 1);
}

/* With six decimals at most; no number of the documents has more. */
static void print_number(struct text *to, double number)
{
	char digits[32];
	int from = sizeof digits, decimals = 6;
	if (number < 0) put(to, "-", 1);
	uint64_t scaled = (uint64_t)((number < 0 ? -number : number) * 1e6 + 0.5);
	for (; decimals && scaled % 10 == 0; decimals--) scaled /= 10;
	for (int i = 0; scaled || i <= decimals; i++) {
		if (decimals && i == decimals) digits[--from] = '.';
		digits[--from] = (char)('0' + scaled % 10);
		scaled /= 10;
	}
	put(to, digits + from, sizeof digits - (size_t)from);
}

static void print(struct text *to, const struct node *node)
{
	switch (node->kind) {
	case NONE: put_text(to, "null"); break;
	case FALSE: put_text(to, "false"); break;
	case TRUE: put_text(to, "true"); break;
	case NUMBER: print_number(to, node->number); break;
	case STRING: print_string(to, strings + node->start, node->length); break;
	case ARRAY: case OBJECT:
		put_text(to, node->kind == ARRAY ? "[" : "{");
		for (const struct node *child = node->first; child; child = child->next) {
			if (node->kind == OBJECT) {
				print_string(to, strings + child->name, child->name_length);
				put_text(to, ":");
			}
			print(to, child);
			if (child->next) put_text(to, ",");
		}
		put_text(to, node->kind == ARRAY ? "]" : "}");
	}
}

/* ---- documents ---- */

static void random_string(struct text *to, uint64_t *state)
{
	static const char *const special[] = { "\\n", "\\\"", "\\u00e9", "\\ud83d\\ude80", "\xc3\xbc", "\\/", "\\t" };
	char text[32];
	put(to, "\"", 1);
	for (int words = 1 + (int)random_below(state, 6); words; words--) {
		put(to, text, random_word(state, text, sizeof text));
		if (words > 1) put(to, " ", 1);
		if (random_below(state, 10) == 0) put_text(to, special[random_below(state, 7)]);
	}
	put(to, "\"", 1);
}

/* A list of records, with records in them. */
static void random_document(struct text *to, uint64_t state)
{
	char number[48];
	uint32_t a, b, c;
	to->length = 0;
	put_text(to, "[\n");
	for (int i = 0; to->length < 16000; i++) {
		a = next_random(&state) >> 8, b = random_below(&state, 1000), c = random_below(&state, 100);
		snprintf(number, sizeof number, "%s  {\"id\": %u, \"price\": %u.%02u,", i ? ",\n" : "", a, b, c);
		put_text(to, number);
		put_text(to, "\n    \"title\" : ");
		random_string(to, &state);
		put_text(to, ", \"tags\": [");
		for (int tags = (int)random_below(&state, 5); tags; tags--) {
			random_string(to, &state);
			if (tags > 1) put_text(to, ", ");
		}
		a = random_below(&state, 180), b = random_below(&state, 100000);
		snprintf(number, sizeof number, "-%u.%u", a, b);
		put_text(to, "],\n    \"place\": {\"x\": ");
		put_text(to, number);
		a = random_below(&state, 100000), b = 1 + random_below(&state, 4);
		snprintf(number, sizeof number, "%ue-%u", a, b);
		put_text(to, ", \"y\": ");
		put_text(to, number);
		put_text(to, random_below(&state, 2) ? "}, \"open\": true, \"owner\": null}" : "}, \"open\": false, \"owner\": {}}");
	}
	put_text(to, "\n]\n");
}

int64_t run(int32_t amount)
{
	static struct text document, printed, again;
	uint64_t hash = HASH_START;
	for (int32_t i = 0; i < amount; i++) {
		random_document(&document, mixed((uint64_t)i));
		printed.length = again.length = 0;
		print(&printed, parse(document.bytes, document.length));
		print(&again, parse(printed.bytes, printed.length));
		require(printed.length == again.length && !memcmp(printed.bytes, again.bytes, again.length), "what was printed is read as the same");
		hash = hashed(hash, printed.bytes, printed.length);
	}
	return (int64_t)hash;
}

KERNEL("json", 400)
