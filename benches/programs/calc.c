/* A compiler for arithmetic: source text becomes tokens, a syntax tree by precedence climbing (equal subtrees are the same node), the
 * tree is folded and simplified, and becomes code for a machine with registers, where values that are used again are kept. run(amount)
 * compiles `amount` functions of random source text, runs each twice, compares with a plain walk of the tree, and returns a hash
 * of code and results. */
#include "input.h"

enum { SOURCE = 8192, NODES = 4096, BUCKETS = 4096, NAMES = 64, CODE = 8192, REGISTERS = 512, STATEMENTS = 40, INPUTS = 4 };

/* ---- source text ---- */

static char source[SOURCE];
static size_t source_length;

static void emit_text(const char *text)
{
	size_t length = strlen(text);
	require(source_length + length < SOURCE, "room for source text");
	memcpy(source + source_length, text, length + 1);
	source_length += length;
}

static void emit_name(int number)
{
	char text[16];
	snprintf(text, sizeof text, "%s%d", number < INPUTS ? "in" : "value_", number);
	emit_text(text);
}

static void random_expression(uint64_t *state, int depth, int names)
{
	static const char *const operators[] = { " + ", " - ", " * ", " / ", " % ", " << ", " >> ", " & ", " | ", " ^ ", " < ", " == ", " && ", " || " };
	uint32_t kind = random_below(state, 10);
	if (depth == 0 || kind == 0) {
		if (random_below(state, 3)) {
			emit_name((int)random_below(state, (uint32_t)names));
		} else {
			char text[16];
			uint32_t most = random_below(state, 2) ? 4 : 100000, number = random_below(state, most);
			snprintf(text, sizeof text, number % 4 ? "%u" : "0x%x", number);
			emit_text(text);
		}
	} else if (kind == 1) {
		emit_text(random_below(state, 2) ? "-" : "!");
		emit_text("(");
		random_expression(state, depth - 1, names);
		emit_text(")");
	} else if (kind == 2) {
		emit_text("(");
		random_expression(state, depth - 1, names);
		emit_text(" ? ");
		random_expression(state, depth - 1, names);
		emit_text(" : ");
		random_expression(state, depth - 1, names);
		emit_text(")");
	} else {
		int brackets = random_below(state, 2) == 0;
		if (brackets) emit_text("(");
		random_expression(state, depth - 1, names);
		emit_text(operators[random_below(state, sizeof operators / sizeof *operators)]);
		random_expression(state, depth - 1, names);
		if (brackets) emit_text(")");
	}
}

/* Statements `name = expression;`, each of which may use the names before; the last is the result. */
static void random_function(uint64_t state)
{
	source_length = 0;
	for (int i = 0; i < STATEMENTS; i++) {
		emit_name(INPUTS + i);
		emit_text(" = ");
		random_expression(&state, 3, INPUTS + i);
		emit_text(i % 7 == 0 ? "; # a remark\n" : ";\n");
	}
}

/* ---- tokens ---- */

enum token { T_END, T_NUMBER, T_NAME, T_SHIFT_LEFT, T_SHIFT_RIGHT, T_EQUAL, T_AND, T_OR };

static const char *at;
static int token;
static uint32_t token_number;
static const char *token_start;
static int token_length;

static int is_name(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'; }

static void advance(void)
{
	for (;;) {
		while (*at == ' ' || *at == '\n') at++;
		if (*at != '#') break;
		while (*at && *at != '\n') at++;
	}
	token_start = at;
	char c = *at;
	if (!c) {
		token = T_END;
	} else if (c >= '0' && c <= '9') {
		token = T_NUMBER;
		token_number = 0;
		if (c == '0' && at[1] == 'x') {
			for (at += 2; is_name(*at); at++) token_number = token_number * 16 + (uint32_t)(*at <= '9' ? *at - '0' : *at - 'a' + 10);
		} else {
			for (; *at >= '0' && *at <= '9'; at++) token_number = token_number * 10 + (uint32_t)(*at - '0');
		}
	} else if (is_name(c)) {
		token = T_NAME;
		while (is_name(*at)) at++;
		token_length = (int)(at - token_start);
	} else {
		static const struct { char text[3]; int token; } doubles[] = {
			{ "<<", T_SHIFT_LEFT }, { ">>", T_SHIFT_RIGHT }, { "==", T_EQUAL }, { "&&", T_AND }, { "||", T_OR },
		};
		token = c;
		at++;
		for (int i = 0; i < 5; i++)
			if (c == doubles[i].text[0] && *at == doubles[i].text[1]) {
				token = doubles[i].token;
				at++;
				break;
			}
	}
}

static void expect(int wanted)
{
	require(token == wanted, "the expected token");
	advance();
}

/* ---- the tree ---- */

enum operation { CONSTANT, INPUT, ADD, SUBTRACT, MULTIPLY, DIVIDE, REMAINDER, SHIFT_LEFT, SHIFT_RIGHT, AND, OR, XOR, LESS, EQUAL, NEGATE, NOT, SELECT };

struct node {
	uint8_t operation;
	uint16_t a, b, c;
	uint16_t uses, in_register; /* zero: not yet */
	int32_t value;              /* of a constant, or the number of an input */
	uint16_t next;              /* of the same bucket; zero: none */
};

static struct node nodes[NODES];
static uint16_t buckets[BUCKETS];
static int nodes_used;

/* What every operation means: as in C with wrapping, and division by zero gives zero. */
static int32_t compute(int operation, int32_t a, int32_t b, int32_t c)
{
	switch (operation) {
	case ADD: return (int32_t)((uint32_t)a + (uint32_t)b);
	case SUBTRACT: return (int32_t)((uint32_t)a - (uint32_t)b);
	case MULTIPLY: return (int32_t)((uint32_t)a * (uint32_t)b);
	case DIVIDE: return b == 0 ? 0 : b == -1 ? (int32_t)(0 - (uint32_t)a) : a / b;
	case REMAINDER: return b == 0 || b == -1 ? 0 : a % b;
	case SHIFT_LEFT: return (int32_t)((uint32_t)a << (b & 31));
	case SHIFT_RIGHT: return a >> (b & 31);
	case AND: return a & b;
	case OR: return a | b;
	case XOR: return a ^ b;
	case LESS: return a < b;
	case EQUAL: return a == b;
	case NEGATE: return (int32_t)(0 - (uint32_t)a);
	case NOT: return !a;
	case SELECT: return a ? b : c;
	}
	require(0, "a known operation");
	return 0;
}

static uint16_t make(int operation, uint16_t a, uint16_t b, uint16_t c, int32_t value)
{
	uint64_t hash = mixed((uint64_t)operation << 48 | (uint64_t)a << 32 | (uint64_t)b << 16 | c) ^ mixed((uint64_t)(uint32_t)value);
	uint16_t *bucket = &buckets[hash % BUCKETS];
	for (uint16_t i = *bucket; i; i = nodes[i].next) {
		struct node *n = &nodes[i];
		if (n->operation == operation && n->a == a && n->b == b && n->c == c && n->value == value) return i;
	}
	require(nodes_used < NODES, "room for nodes");
	nodes[nodes_used] = (struct node){ (uint8_t)operation, a, b, c, 0, 0, value, *bucket };
	return *bucket = (uint16_t)nodes_used++;
}

static uint16_t constant(int32_t value) { return make(CONSTANT, 0, 0, 0, value); }

/* Makes a node, or finds a simpler one that means the same. */
static uint16_t simplified(int operation, uint16_t a, uint16_t b, uint16_t c)
{
	int constant_a = nodes[a].operation == CONSTANT, constant_b = nodes[b].operation == CONSTANT;
	int32_t value_a = nodes[a].value, value_b = nodes[b].value;
	if (operation == SELECT) return constant_a ? (value_a ? b : c) : b == c ? b : make(operation, a, b, c, 0);
	if (constant_a && (operation == NEGATE || operation == NOT || constant_b)) return constant(compute(operation, value_a, value_b, 0));
	if (constant_a && (operation == ADD || operation == MULTIPLY || operation == AND || operation == OR || operation == XOR)) {
		uint16_t swap = a;
		a = b, b = swap;
		constant_b = 1, value_b = value_a;
	}
	if (constant_b && value_b == 0) {
		if (operation == ADD || operation == SUBTRACT || operation == OR || operation == XOR || operation == SHIFT_LEFT || operation == SHIFT_RIGHT) return a;
		if (operation == MULTIPLY || operation == AND || operation == DIVIDE || operation == REMAINDER) return b;
	}
	if (constant_b && value_b == 1) {
		if (operation == MULTIPLY || operation == DIVIDE) return a;
		if (operation == REMAINDER) return constant(0);
	}
	if (a == b && operation != NEGATE && operation != NOT) {
		if (operation == SUBTRACT || operation == XOR || operation == LESS) return constant(0);
		if (operation == AND || operation == OR) return a;
		if (operation == EQUAL) return constant(1);
	}
	if (operation == NEGATE && nodes[a].operation == NEGATE) return nodes[a].a;
	return make(operation, a, operation == NEGATE || operation == NOT ? 0 : b, 0, 0);
}

static uint16_t truth(uint16_t a) { return simplified(NOT, simplified(NOT, a, 0, 0), 0, 0); }

/* ---- parsing ---- */

static struct { const char *start; int length; uint16_t node; } names[NAMES];
static int names_used;

static uint16_t lookup(void)
{
	for (int i = names_used - 1; i >= 0; i--)
		if (names[i].length == token_length && !memcmp(names[i].start, token_start, (size_t)token_length)) return names[i].node;
	require(0, "a name that is known");
	return 0;
}

static int precedence(int t)
{
	switch (t) {
	case '*': case '/': case '%': return 10;
	case '+': case '-': return 9;
	case T_SHIFT_LEFT: case T_SHIFT_RIGHT: return 8;
	case '<': return 7;
	case T_EQUAL: return 6;
	case '&': return 5;
	case '^': return 4;
	case '|': return 3;
	case T_AND: return 2;
	case T_OR: return 1;
	}
	return 0;
}

static int operation_of(int t)
{
	switch (t) {
	case '*': return MULTIPLY;
	case '/': return DIVIDE;
	case '%': return REMAINDER;
	case '+': return ADD;
	case '-': return SUBTRACT;
	case '<': return LESS;
	case '&': return AND;
	case '^': return XOR;
	case '|': return OR;
	case T_SHIFT_LEFT: return SHIFT_LEFT;
	case T_SHIFT_RIGHT: return SHIFT_RIGHT;
	}
	return EQUAL;
}

static uint16_t parse_expression(void);

static uint16_t parse_operand(void)
{
	uint16_t result;
	switch (token) {
	case T_NUMBER:
		result = constant((int32_t)token_number);
		advance();
		return result;
	case T_NAME:
		result = lookup();
		advance();
		return result;
	case '-': case '!': {
		int operation = token == '-' ? NEGATE : NOT;
		advance();
		return simplified(operation, parse_operand(), 0, 0);
	}
	}
	expect('(');
	result = parse_expression();
	expect(')');
	return result;
}

static uint16_t parse_binary(int least)
{
	uint16_t left = parse_operand();
	for (int now; (now = precedence(token)) >= least;) {
		int sign = token;
		advance();
		uint16_t right = parse_binary(now + 1);
		if (sign == T_AND) left = simplified(SELECT, left, truth(right), constant(0));
		else if (sign == T_OR) left = simplified(SELECT, left, constant(1), truth(right));
		else left = simplified(operation_of(sign), left, right, 0);
	}
	return left;
}

static uint16_t parse_expression(void)
{
	uint16_t condition = parse_binary(1);
	if (token != '?') return condition;
	advance();
	uint16_t yes = parse_expression();
	expect(':');
	return simplified(SELECT, condition, yes, parse_expression());
}

static uint16_t parse(void)
{
	static const char *const inputs[INPUTS] = { "in0", "in1", "in2", "in3" };
	uint16_t last = 0;
	nodes_used = 1; /* zero is no node */
	memset(buckets, 0, sizeof buckets);
	names_used = 0;
	for (int i = 0; i < INPUTS; i++) {
		names[names_used].start = inputs[i];
		names[names_used].length = 3;
		names[names_used++].node = make(INPUT, 0, 0, 0, i);
	}
	at = source;
	advance();
	while (token != T_END) {
		require(token == T_NAME && names_used < NAMES, "a name");
		const char *start = token_start;
		int length = token_length;
		advance();
		expect('=');
		last = parse_expression();
		expect(';');
		names[names_used].start = start;
		names[names_used].length = length;
		names[names_used++].node = last;
	}
	return last;
}

/* ---- code ---- */

struct instruction {
	uint8_t operation;
	uint16_t to, a, b, c;
	int32_t value;
};

static struct instruction code[CODE];
static int code_length;
static uint16_t free_registers[REGISTERS];
static int free_count;

static int operands(int operation) { return operation <= INPUT ? 0 : operation == SELECT ? 3 : operation >= NEGATE ? 1 : 2; }

static void count_uses(uint16_t node)
{
	struct node *n = &nodes[node];
	if (n->uses++) return;
	int count = operands(n->operation);
	if (count > 0) count_uses(n->a);
	if (count > 1) count_uses(n->b);
	if (count > 2) count_uses(n->c);
}

static void release(uint16_t node)
{
	if (--nodes[node].uses == 0) free_registers[free_count++] = nodes[node].in_register;
}

/* Emits code for a node whose value is in no register yet. Registers are used again after the last use of their value. */
static uint16_t generate(uint16_t node)
{
	struct node *n = &nodes[node];
	if (n->in_register) return n->in_register;
	struct instruction made = { n->operation, 0, 0, 0, 0, n->value };
	int count = operands(n->operation);
	if (count > 0) made.a = generate(n->a);
	if (count > 1) made.b = generate(n->b);
	if (count > 2) made.c = generate(n->c);
	if (count > 0) release(n->a);
	if (count > 1) release(n->b);
	if (count > 2) release(n->c);
	require(free_count > 0 && code_length < CODE, "room for code and registers");
	made.to = n->in_register = free_registers[--free_count];
	code[code_length++] = made;
	return made.to;
}

static uint16_t compile(uint16_t root)
{
	code_length = free_count = 0;
	for (int i = REGISTERS - 1; i > 0; i--) free_registers[free_count++] = (uint16_t)i;
	count_uses(root);
	return generate(root);
}

static int32_t execute(uint16_t result, const int32_t *inputs)
{
	static int32_t r[REGISTERS];
	for (int i = 0; i < code_length; i++) {
		const struct instruction *in = &code[i];
		if (in->operation == CONSTANT) r[in->to] = in->value;
		else if (in->operation == INPUT) r[in->to] = inputs[in->value];
		else r[in->to] = compute(in->operation, r[in->a], r[in->b], r[in->c]);
	}
	return r[result];
}

/* The same without code: nodes come after their operands, so one walk is enough. */
static int32_t walk(uint16_t root, const int32_t *inputs)
{
	static int32_t values[NODES];
	for (int i = 1; i <= root; i++) {
		const struct node *n = &nodes[i];
		if (n->operation == CONSTANT) values[i] = n->value;
		else if (n->operation == INPUT) values[i] = inputs[n->value];
		else values[i] = compute(n->operation, values[n->a], values[n->b], values[n->c]);
	}
	return values[root];
}

int64_t run(int32_t amount)
{
	uint64_t hash = HASH_START;
	for (int32_t i = 0; i < amount; i++) {
		random_function(mixed((uint64_t)i));
		uint16_t root = parse(), result = compile(root);
		for (int32_t k = 0; k < 2; k++) {
			int32_t inputs[INPUTS] = { i, k * 77777 - i, i * 31 % 1000, 3 - k };
			int32_t value = execute(result, inputs);
			require(value == walk(root, inputs), "code and tree agree");
			hash = hashed(hash, &value, sizeof value);
		}
		hash = hashed(hash, &code_length, sizeof code_length);
	}
	return (int64_t)hash;
}

KERNEL("calc", 1500)
