/* What the test programs need of a C library: CHECK, which ends the program with the line that failed, and a last word. */
#include "pthread.h"

#define NULL ((void *)0)

struct ciovec {
  const char *bytes;
  unsigned long length;
};
__attribute__((import_module("wasi_snapshot_preview1"), import_name("fd_write"))) int
fd_write(int fd, const struct ciovec *vecs, unsigned long count, unsigned long *written);
__attribute__((import_module("wasi_snapshot_preview1"), import_name("proc_exit"), noreturn)) void proc_exit(int code);

static void print(const char *text) {
  unsigned long length = 0, written;
  while (text[length]) length++;
  struct ciovec vec = {text, length};
  fd_write(1, &vec, 1, &written);
}

static void check(int holds, int line) {
  if (holds) return;
  char digits[] = "line 0000 fails\n";
  for (int at = 8; line; line /= 10) digits[at--] += line % 10;
  print(digits);
  proc_exit(1);
}

#define CHECK(condition) check((condition) != 0, __LINE__)

/* Tells the optimiser nothing about what other threads do. */
#define SHARED(type) static _Atomic type

void test(void);

__attribute__((export_name("_start"))) void start(void) {
  test();
  print("ok\n");
}
