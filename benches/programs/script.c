/* A scripting language: functions, numbers of two kinds, arrays. Source text is compiled in one pass to bytecode, which a machine with
 * a stack runs: a switch in a loop, values that carry their kinds, calls with frames. run(amount) compiles the script below and
 * calls its function `work` `amount` times, each of which is a bit of many usual things, and returns a hash of the results. */
#include "input.h"

static const char script[] =
	"fn fib(n) { if (n < 2) { return n; } return fib(n - 1) + fib(n - 2); }\n"
	"fn primes(limit) {\n"
	"  let composite = array(limit); let count = 0; let i = 2;\n"
	"  while (i < limit) {\n"
	"    if (!composite[i]) { count = count + 1; let j = i * i; while (j < limit) { composite[j] = 1; j = j + i; } }\n"
	"    i = i + 1;\n"
	"  }\n"
	"  return count;\n"
	"}\n"
	"fn safe(board, row, column) {\n"
	"  let i = 0;\n"
	"  while (i < row) {\n"
	"    let other = board[i]; let away = row - i;\n"
	"    if (other == column || other - column == away || column - other == away) { return 0; }\n"
	"    i = i + 1;\n"
	"  }\n"
	"  return 1;\n"
	"}\n"
	"fn queens(board, row, size) {\n"
	"  if (row == size) { return 1; }\n"
	"  let count = 0; let column = 0;\n"
	"  while (column < size) {\n"
	"    if (safe(board, row, column)) { board[row] = column; count = count + queens(board, row + 1, size); }\n"
	"    column = column + 1;\n"
	"  }\n"
	"  return count;\n"
	"}\n"
	"fn sort(a, low, high) {\n"
	"  while (low < high) {\n"
	"    let pivot = a[(low + high) / 2]; let i = low; let j = high;\n"
	"    while (i <= j) {\n"
	"      while (a[i] < pivot) { i = i + 1; }\n"
	"      while (a[j] > pivot) { j = j - 1; }\n"
	"      if (i <= j) { let swap = a[i]; a[i] = a[j]; a[j] = swap; i = i + 1; j = j - 1; }\n"
	"    }\n"
	"    if (j - low < high - i) { sort(a, low, j); low = i; } else { sort(a, i, high); high = j; }\n"
	"  }\n"
	"  return 0;\n"
	"}\n"
	"fn sorted(n, seed) {\n"
	"  let a = array(n); let i = 0;\n"
	"  while (i < n) { seed = (seed * 1103515245 + 12345) % 2147483648; a[i] = seed; i = i + 1; }\n"
	"  sort(a, 0, n - 1);\n"
	"  let sum = 0; i = 0;\n"
	"  while (i < n) { sum = (sum * 31 + a[i]) % 1000003; i = i + 1; }\n"
	"  return sum;\n"
	"}\n"
	"fn orbit(x0, y0) {\n"
	"  let x = 0.0; let y = 0.0; let n = 0;\n"
	"  while (n < 60 && x * x + y * y < 4.0) { let next = x * x - y * y + x0; y = 2.0 * x * y + y0; x = next; n = n + 1; }\n"
	"  return n;\n"
	"}\n"
	"fn orbits(rows) {\n"
	"  let total = 0; let row = 0;\n"
	"  while (row < rows) {\n"
	"    let column = 0;\n"
	"    while (column < rows) { total = total + orbit(column * 3.0 / rows - 2.25, row * 2.5 / rows - 1.25); column = column + 1; }\n"
	"    row = row + 1;\n"
	"  }\n"
	"  return total;\n"
	"}\n"
	"fn steps(n) { let count = 0; while (n != 1) { if (n % 2) { n = 3 * n + 1; } else { n = n / 2; } count = count + 1; } return count; }\n"
	"fn work(i) {\n"
	"  return fib(11) + primes(600) * 3 + queens(array(5), 0, 5) * 5 + sorted(100, i) * 7 + orbits(8) * 11 + steps(i + 27) * 13;\n"
	"}\n";

/* ---- values ---- */

enum kind { INTEGER, FLOAT, ARRAY };

struct value {
	enum kind kind;
	union {
		int64_t integer;
		double number;
		struct array *array;
	};
};

struct array {
	int64_t length;
	struct value items[];
};

/* Arrays live until the script's outermost call has ended. */
enum { HEAP = 1 << 20 };
static _Alignas(16) unsigned char heap[HEAP];
static size_t heap_used;

/* ---- bytecode ---- */

enum operation { OP_CONSTANT, OP_LOAD, OP_STORE, OP_DROP, OP_ADD, OP_SUBTRACT, OP_MULTIPLY, OP_DIVIDE, OP_REMAINDER, OP_LESS, OP_LESS_EQUAL,
	OP_EQUAL, OP_NOT_EQUAL, OP_NOT, OP_NEGATE, OP_INDEX, OP_SET_INDEX, OP_ARRAY, OP_LENGTH, OP_JUMP, OP_JUMP_IF_NOT, OP_AND, OP_OR, OP_CALL, OP_RETURN };

struct instruction {
	uint32_t operation : 8, operand : 24;
};

struct function {
	char name[16];
	int name_length, parameters, start, slots; /* slots: parameters and variables */
};

enum { CODE = 4096, CONSTANTS = 256, FUNCTIONS = 32, LOCALS = 32, STACK = 4096, FRAMES = 256 };

static struct instruction code[CODE];
static struct value constants[CONSTANTS];
static struct function functions[FUNCTIONS];
static int code_length, constant_count, function_count;

/* ---- tokens ---- */

enum token { T_END, T_NUMBER, T_NAME, T_LESS_EQUAL, T_EQUAL, T_NOT_EQUAL, T_AND, T_OR };

static const char *at, *token_start;
static int token, token_length;
static struct value token_value;

static int is_digit(char c) { return c >= '0' && c <= '9'; }
static int is_letter(char c) { return (c >= 'a' && c <= 'z') || c == '_'; }

static void advance(void)
{
	while (*at == ' ' || *at == '\n') at++;
	token_start = at;
	char c = *at;
	if (!c) {
		token = T_END;
	} else if (is_digit(c)) {
		token = T_NUMBER;
		token_value = (struct value){ INTEGER, { 0 } };
		while (is_digit(*at)) token_value.integer = token_value.integer * 10 + (*at++ - '0');
		if (*at == '.') {
			double number = (double)token_value.integer, unit = 1;
			for (at++; is_digit(*at); at++) number = number * 10 + (*at - '0'), unit *= 10;
			token_value.kind = FLOAT;
			token_value.number = number / unit;
		}
	} else if (is_letter(c)) {
		token = T_NAME;
		while (is_letter(*at) || is_digit(*at)) at++;
	} else {
		at++;
		token = c;
		int twice = 0;
		if (c == '<' && *at == '=') twice = T_LESS_EQUAL;
		if (c == '=' && *at == '=') twice = T_EQUAL;
		if (c == '!' && *at == '=') twice = T_NOT_EQUAL;
		if (c == '&' && *at == '&') twice = T_AND;
		if (c == '|' && *at == '|') twice = T_OR;
		if (twice) token = twice, at++;
	}
	token_length = (int)(at - token_start);
}

static int is_word(const char *word) { return token == T_NAME && (int)strlen(word) == token_length && !memcmp(word, token_start, (size_t)token_length); }

static void expect(int wanted)
{
	require(token == wanted, "the expected token");
	advance();
}

/* ---- compiling ---- */

static struct { const char *start; int length; } locals[LOCALS];
static int local_count, most_locals;

static void expression(void);
static void block(void);

static int emit(int operation, int operand)
{
	require(code_length < CODE, "room for code");
	code[code_length] = (struct instruction){ (uint32_t)operation, (uint32_t)operand };
	return code_length++;
}

static void patch(int jump) { code[jump].operand = (uint32_t)code_length; }

static int find_local(const char *start, int length)
{
	for (int i = local_count - 1; i >= 0; i--)
		if (locals[i].length == length && !memcmp(locals[i].start, start, (size_t)length)) return i;
	require(0, "a variable that is known");
	return 0;
}

static int add_local(void)
{
	require(token == T_NAME && local_count < LOCALS, "the name of a variable");
	locals[local_count].start = token_start;
	locals[local_count].length = token_length;
	advance();
	if (++local_count > most_locals) most_locals = local_count;
	return local_count - 1;
}

static int find_function(const char *name, int length)
{
	for (int i = 0; i < function_count; i++)
		if (functions[i].name_length == length && !memcmp(functions[i].name, name, (size_t)length)) return i;
	require(0, "a function that is known");
	return 0;
}

static int arguments(void)
{
	int count = 0;
	expect('(');
	while (token != ')') {
		expression();
		count++;
		if (token != ',') break;
		advance();
	}
	expect(')');
	return count;
}

static void primary(void)
{
	if (token == T_NUMBER) {
		require(constant_count < CONSTANTS, "room for constants");
		constants[constant_count] = token_value;
		emit(OP_CONSTANT, constant_count++);
		advance();
	} else if (token == T_NAME) {
		const char *start = token_start;
		int length = token_length, array = is_word("array"), len = is_word("len");
		advance();
		if (token != '(') {
			emit(OP_LOAD, find_local(start, length));
		} else {
			int count = arguments();
			if (array || len) {
				require(count == 1, "one argument");
				emit(array ? OP_ARRAY : OP_LENGTH, 0);
			} else {
				int function = find_function(start, length);
				require(count == functions[function].parameters, "as many arguments as parameters");
				emit(OP_CALL, function);
			}
		}
	} else {
		expect('(');
		expression();
		expect(')');
	}
	while (token == '[') {
		advance();
		expression();
		expect(']');
		emit(OP_INDEX, 0);
	}
}

static void unary(void)
{
	if (token == '!' || token == '-') {
		int operation = token == '!' ? OP_NOT : OP_NEGATE;
		advance();
		unary();
		emit(operation, 0);
	} else {
		primary();
	}
}

static int precedence(void)
{
	switch (token) {
	case '*': case '/': case '%': return 6;
	case '+': case '-': return 5;
	case '<': case '>': case T_LESS_EQUAL: return 4;
	case T_EQUAL: case T_NOT_EQUAL: return 3;
	case T_AND: return 2;
	case T_OR: return 1;
	}
	return 0;
}

static void binary(int least)
{
	unary();
	for (int now; (now = precedence()) >= least;) {
		int sign = token;
		advance();
		if (sign == T_AND || sign == T_OR) {
			int jump = emit(sign == T_AND ? OP_AND : OP_OR, 0);
			binary(now + 1);
			patch(jump);
			continue;
		}
		binary(now + 1);
		switch (sign) {
		case '*': emit(OP_MULTIPLY, 0); break;
		case '/': emit(OP_DIVIDE, 0); break;
		case '%': emit(OP_REMAINDER, 0); break;
		case '+': emit(OP_ADD, 0); break;
		case '-': emit(OP_SUBTRACT, 0); break;
		case '<': emit(OP_LESS, 0); break;
		case '>': emit(OP_LESS_EQUAL, 0), emit(OP_NOT, 0); break;
		case T_LESS_EQUAL: emit(OP_LESS_EQUAL, 0); break;
		case T_EQUAL: emit(OP_EQUAL, 0); break;
		default: emit(OP_NOT_EQUAL, 0);
		}
	}
}

static void expression(void) { binary(1); }

static void statement(void)
{
	if (is_word("let")) {
		advance();
		const char *start = token_start;
		int length = token_length;
		advance();
		expect('=');
		expression();
		/* Known from here on. */
		require(local_count < LOCALS, "room for variables");
		locals[local_count].start = start;
		locals[local_count].length = length;
		emit(OP_STORE, local_count);
		if (++local_count > most_locals) most_locals = local_count;
		expect(';');
	} else if (is_word("if")) {
		advance();
		expect('(');
		expression();
		expect(')');
		int past = emit(OP_JUMP_IF_NOT, 0);
		block();
		if (is_word("else")) {
			advance();
			int end = emit(OP_JUMP, 0);
			patch(past);
			block();
			past = end;
		}
		patch(past);
	} else if (is_word("while")) {
		advance();
		int start = code_length;
		expect('(');
		expression();
		expect(')');
		int end = emit(OP_JUMP_IF_NOT, 0);
		block();
		emit(OP_JUMP, start);
		patch(end);
	} else if (is_word("return")) {
		advance();
		expression();
		expect(';');
		emit(OP_RETURN, 0);
	} else {
		/* A call, or an assignment to what the expression before `=` loads. */
		expression();
		if (token == '=') {
			struct instruction target = code[--code_length];
			advance();
			expression();
			if (target.operation == OP_LOAD) {
				emit(OP_STORE, (int)target.operand);
			} else {
				require(target.operation == OP_INDEX, "something that can be assigned to");
				emit(OP_SET_INDEX, 0);
			}
		} else {
			emit(OP_DROP, 0);
		}
		expect(';');
	}
}

static void block(void)
{
	int outer = local_count;
	expect('{');
	while (token != '}') statement();
	advance();
	local_count = outer;
}

static void compile(const char *source)
{
	code_length = constant_count = function_count = 0;
	at = source;
	advance();
	while (token != T_END) {
		require(is_word("fn"), "a function");
		advance();
		require(token == T_NAME && token_length < 16 && function_count < FUNCTIONS, "the name of a function");
		struct function *f = &functions[function_count++];
		memcpy(f->name, token_start, (size_t)token_length);
		f->name_length = token_length;
		f->start = code_length;
		advance();
		local_count = most_locals = 0;
		expect('(');
		while (token != ')') {
			add_local();
			if (token != ',') break;
			advance();
		}
		expect(')');
		f->parameters = local_count;
		block();
		f->slots = most_locals;
	}
}

/* ---- the machine ---- */

static struct value integer(int64_t value) { return (struct value){ INTEGER, { .integer = value } }; }
static struct value number(double value) { return (struct value){ FLOAT, { .number = value } }; }
static double as_number(struct value v) { return v.kind == INTEGER ? (double)v.integer : v.number; }
static int is_true(struct value v) { return v.kind == INTEGER ? v.integer != 0 : v.kind == ARRAY || v.number != 0; }

static struct value *item(struct value array, struct value index)
{
	require(array.kind == ARRAY && index.kind == INTEGER, "an array and its index");
	require(index.integer >= 0 && index.integer < array.array->length, "an index within the array");
	return &array.array->items[index.integer];
}

static struct value new_array(struct value length)
{
	require(length.kind == INTEGER && length.integer >= 0, "a length");
	size_t size = sizeof(struct array) + (size_t)length.integer * sizeof(struct value);
	require(size <= HEAP - heap_used, "room for an array");
	struct array *array = (struct array *)(heap + heap_used);
	heap_used += (size + 15) & ~(size_t)15;
	array->length = length.integer;
	for (int64_t i = 0; i < length.integer; i++) array->items[i] = integer(0);
	return (struct value){ ARRAY, { .array = array } };
}

/* Both operands are integers, or the operation is that of floats. */
#define ARITHMETIC(sign)                                                                             \
	top--;                                                                                       \
	if (top[-1].kind == INTEGER && top[0].kind == INTEGER)                                       \
		top[-1].integer = (int64_t)((uint64_t)top[-1].integer sign (uint64_t)top[0].integer); \
	else                                                                                         \
		top[-1] = number(as_number(top[-1]) sign as_number(top[0]));                         \
	break

#define COMPARISON(sign)                                                          \
	top--;                                                                    \
	if (top[-1].kind == INTEGER && top[0].kind == INTEGER)                    \
		top[-1].integer = top[-1].integer sign top[0].integer;            \
	else                                                                      \
		top[-1] = integer(as_number(top[-1]) sign as_number(top[0]));     \
	break

static struct value call(int function, struct value argument)
{
	static struct value stack[STACK];
	static struct { const struct instruction *ip; struct value *base; } frames[FRAMES];
	int depth = 0;
	struct value *base = stack, *top = stack + functions[function].slots;
	const struct instruction *ip = code + functions[function].start;
	base[0] = argument;
	for (;;) {
		struct instruction now = *ip++;
		switch ((enum operation)now.operation) {
		case OP_CONSTANT: *top++ = constants[now.operand]; break;
		case OP_LOAD: *top++ = base[now.operand]; break;
		case OP_STORE: base[now.operand] = *--top; break;
		case OP_DROP: top--; break;
		case OP_ADD: ARITHMETIC(+);
		case OP_SUBTRACT: ARITHMETIC(-);
		case OP_MULTIPLY: ARITHMETIC(*);
		case OP_DIVIDE:
			top--;
			if (top[-1].kind == INTEGER && top[0].kind == INTEGER) {
				require(top[0].integer > 0, "a divisor above zero");
				top[-1].integer /= top[0].integer;
			} else {
				top[-1] = number(as_number(top[-1]) / as_number(top[0]));
			}
			break;
		case OP_REMAINDER:
			top--;
			require(top[-1].kind == INTEGER && top[0].kind == INTEGER && top[0].integer > 0, "a divisor above zero");
			top[-1].integer %= top[0].integer;
			break;
		case OP_LESS: COMPARISON(<);
		case OP_LESS_EQUAL: COMPARISON(<=);
		case OP_EQUAL: COMPARISON(==);
		case OP_NOT_EQUAL: COMPARISON(!=);
		case OP_NOT: top[-1] = integer(!is_true(top[-1])); break;
		case OP_NEGATE:
			if (top[-1].kind == INTEGER) top[-1].integer = -top[-1].integer;
			else top[-1].number = -as_number(top[-1]);
			break;
		case OP_INDEX:
			top--;
			top[-1] = *item(top[-1], top[0]);
			break;
		case OP_SET_INDEX:
			top -= 3;
			*item(top[0], top[1]) = top[2];
			break;
		case OP_ARRAY: top[-1] = new_array(top[-1]); break;
		case OP_LENGTH:
			require(top[-1].kind == ARRAY, "an array");
			top[-1] = integer(top[-1].array->length);
			break;
		case OP_JUMP: ip = code + now.operand; break;
		case OP_JUMP_IF_NOT:
			if (!is_true(*--top)) ip = code + now.operand;
			break;
		case OP_AND:
			if (!is_true(top[-1])) ip = code + now.operand;
			else top--;
			break;
		case OP_OR:
			if (is_true(top[-1])) ip = code + now.operand;
			else top--;
			break;
		case OP_CALL: {
			const struct function *f = &functions[now.operand];
			require(depth < FRAMES && top + f->slots + 32 < stack + STACK, "room on the stack");
			frames[depth].ip = ip;
			frames[depth++].base = base;
			base = top - f->parameters;
			top = base + f->slots;
			ip = code + f->start;
			break;
		}
		case OP_RETURN: {
			struct value result = top[-1];
			if (depth == 0) return result;
			top = base;
			*top++ = result;
			ip = frames[--depth].ip;
			base = frames[depth].base;
			break;
		}
		}
	}
}

int64_t run(int32_t amount)
{
	uint64_t hash = HASH_START;
	compile(script);
	int work = find_function("work", 4);
	for (int32_t i = 0; i < amount; i++) {
		heap_used = 0;
		struct value result = call(work, integer(i));
		require(result.kind == INTEGER, "a whole result");
		hash = hashed(hash, &result.integer, sizeof result.integer);
	}
	return (int64_t)hash;
}

KERNEL("script", 600)
