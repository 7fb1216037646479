/* A command line for wasm3 0.5, whose package on PyPI (pywasm3) has the engine but no WASI: as much of it as the programs of
 * benches/ call.
 *
 *     wasm3 FILE [ARGS] */
#include "wasm3.h"
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { STACK = 1 << 20, E_SUCCESS = 0, E_BADF = 8, E_FAULT = 21, E_IO = 29, E_NOSYS = 52, E_SPIPE = 70 };

static int count;
static char **arguments;

/* The address of `size` bytes of the program's memory, or an error for the program. */
static int reach(IM3Runtime runtime, uint8_t *memory, uint32_t at, uint64_t size, void **to)
{
	uint32_t length = 0;
	m3_GetMemory(runtime, &length, 0);
	*to = memory + at;
	return at + size <= length ? E_SUCCESS : E_FAULT;
}

#define REACH(at, size, to)                                                        \
	do {                                                                       \
		void *place;                                                       \
		int error = reach(runtime, (uint8_t *)_mem, at, size, &place);     \
		if (error) m3ApiReturn(error);                                     \
		to = place;                                                        \
	} while (0)

m3ApiRawFunction(args_sizes_get)
{
	m3ApiReturnType(uint32_t);
	m3ApiGetArg(uint32_t, count_at);
	m3ApiGetArg(uint32_t, size_at);
	uint32_t *to, size = 0;
	for (int i = 0; i < count; i++) size += (uint32_t)strlen(arguments[i]) + 1;
	REACH(count_at, 4, to);
	*to = (uint32_t)count;
	REACH(size_at, 4, to);
	*to = size;
	m3ApiReturn(E_SUCCESS);
}

m3ApiRawFunction(args_get)
{
	m3ApiReturnType(uint32_t);
	m3ApiGetArg(uint32_t, list);
	m3ApiGetArg(uint32_t, bytes);
	for (int i = 0; i < count; i++) {
		uint32_t *entry, size = (uint32_t)strlen(arguments[i]) + 1;
		char *text;
		REACH(list + 4 * (uint32_t)i, 4, entry);
		*entry = bytes;
		REACH(bytes, size, text);
		memcpy(text, arguments[i], size);
		bytes += size;
	}
	m3ApiReturn(E_SUCCESS);
}

m3ApiRawFunction(clock_time_get)
{
	m3ApiReturnType(uint32_t);
	m3ApiGetArg(uint32_t, clock);
	m3ApiGetArg(uint64_t, precision);
	m3ApiGetArg(uint32_t, at);
	(void)precision;
	struct timespec now;
	uint64_t *to;
	REACH(at, 8, to);
	clock_gettime(clock == 0 ? CLOCK_REALTIME : CLOCK_MONOTONIC, &now);
	*to = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
	m3ApiReturn(E_SUCCESS);
}

m3ApiRawFunction(fd_write)
{
	m3ApiReturnType(uint32_t);
	m3ApiGetArg(uint32_t, fd);
	m3ApiGetArg(uint32_t, list);
	m3ApiGetArg(uint32_t, pieces);
	m3ApiGetArg(uint32_t, written_at);
	uint32_t *written, total = 0;
	if (fd != 1 && fd != 2) m3ApiReturn(E_BADF);
	for (uint32_t i = 0; i < pieces; i++) {
		uint32_t *piece;
		char *bytes;
		REACH(list + 8 * i, 8, piece);
		REACH(piece[0], piece[1], bytes);
		for (uint32_t done = 0; done < piece[1];) {
			ssize_t now = write((int)fd, bytes + done, piece[1] - done);
			if (now < 0) m3ApiReturn(E_IO);
			done += (uint32_t)now;
		}
		total += piece[1];
	}
	REACH(written_at, 4, written);
	*written = total;
	m3ApiReturn(E_SUCCESS);
}

m3ApiRawFunction(fd_fdstat_get)
{
	m3ApiReturnType(uint32_t);
	m3ApiGetArg(uint32_t, fd);
	m3ApiGetArg(uint32_t, at);
	uint8_t *to;
	struct stat status;
	if (fd > 2 || fstat((int)fd, &status)) m3ApiReturn(E_BADF);
	REACH(at, 24, to);
	memset(to, 0, 24);
	to[0] = S_ISREG(status.st_mode) ? 4 : S_ISCHR(status.st_mode) ? 2 : 0;
	memset(to + 8, 0xff, 4);
	m3ApiReturn(E_SUCCESS);
}

m3ApiRawFunction(fd_seek)
{
	m3ApiReturnType(uint32_t);
	m3ApiReturn(E_SPIPE);
}

m3ApiRawFunction(fd_close)
{
	m3ApiReturnType(uint32_t);
	m3ApiReturn(E_SUCCESS);
}

m3ApiRawFunction(random_get)
{
	m3ApiReturnType(uint32_t);
	m3ApiGetArg(uint32_t, at);
	m3ApiGetArg(uint32_t, size);
	uint8_t *to;
	REACH(at, size, to);
	while (size > 0) {
		ssize_t now = getrandom(to, size > 256 ? 256 : size, 0);
		if (now < 0) m3ApiReturn(E_IO);
		to += now;
		size -= (uint32_t)now;
	}
	m3ApiReturn(E_SUCCESS);
}

m3ApiRawFunction(proc_exit)
{
	m3ApiGetArg(uint32_t, code);
	_exit((int)code);
}

static void check(M3Result result, const char *doing)
{
	if (!result) return;
	fprintf(stderr, "wasm3: %s: %s\n", doing, result);
	exit(1);
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "--version")) {
		puts("wasm3 " M3_VERSION);
		return 0;
	}
	FILE *file = argc > 1 ? fopen(argv[1], "rb") : NULL;
	if (!file) {
		fprintf(stderr, "usage: wasm3 FILE [ARGS]\n");
		return 2;
	}
	fseek(file, 0, SEEK_END);
	size_t size = (size_t)ftell(file);
	rewind(file);
	uint8_t *bytes = malloc(size);
	if (!bytes || fread(bytes, 1, size, file) != size) return 1;
	fclose(file);
	count = argc - 1;
	arguments = argv + 1;

	IM3Environment environment = m3_NewEnvironment();
	IM3Runtime runtime = m3_NewRuntime(environment, STACK, NULL);
	IM3Module module;
	check(m3_ParseModule(environment, &module, bytes, (uint32_t)size), "reading the module");
	check(m3_LoadModule(runtime, module), "loading the module");
	static const struct { const char *name, *type; M3RawCall call; } functions[] = {
		{ "args_sizes_get", "i(ii)", args_sizes_get }, { "args_get", "i(ii)", args_get },
		{ "clock_time_get", "i(iIi)", clock_time_get }, { "fd_write", "i(iiii)", fd_write },
		{ "fd_fdstat_get", "i(ii)", fd_fdstat_get }, { "fd_seek", "i(iIii)", fd_seek }, { "fd_close", "i(i)", fd_close },
		{ "random_get", "i(ii)", random_get }, { "proc_exit", "v(i)", proc_exit },
	};
	for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
		M3Result result = m3_LinkRawFunction(module, "wasi_snapshot_preview1", functions[i].name, functions[i].type, functions[i].call);
		if (result != m3Err_functionLookupFailed) check(result, functions[i].name);
	}
	IM3Function start;
	check(m3_FindFunction(&start, runtime, "_start"), "looking for _start");
	check(m3_CallV(start), "running");
	return 0;
}
