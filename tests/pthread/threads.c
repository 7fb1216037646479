/* Create, join, detach, self, exit; values, arguments, and the shares of the stack. */
#include "check.h"

SHARED(int) ran, go;
static int initialised = 42;
static const char *text = "data segments are there";

static void *add(void *arg) {
  ran++;
  return (char *)arg + 1;
}

/* Uses its stack, and finds it unchanged by others. */
static unsigned sum(volatile unsigned char *bytes, unsigned length) {
  unsigned total = 0;
  for (unsigned i = 0; i < length; i++) total += bytes[i];
  return total;
}

static void *use_stack(void *arg) {
  volatile unsigned char bytes[2000];
  unsigned id = (unsigned)(unsigned long)arg;
  for (int round = 0; round < 50; round++) {
    for (unsigned i = 0; i < sizeof bytes; i++) bytes[i] = (unsigned char)(id + round);
    while (go < 1) {}
    if (sum(bytes, sizeof bytes) != sizeof bytes * (unsigned char)(id + round)) return NULL;
  }
  return (void *)((unsigned long)bytes & -16ul);
}

static void leave(int depth) {
  volatile int on_stack = depth;
  if (depth > 0)
    leave(depth - 1);
  else
    pthread_exit((void *)77);
  CHECK(on_stack == -1);
}

static void *exits(void *arg) {
  leave((int)(unsigned long)arg);
  CHECK(0);
  return NULL;
}

static void *itself(void *arg) {
  *(pthread_t *)arg = pthread_self();
  return NULL;
}

static void *join_other(void *arg) {
  void *value;
  CHECK(pthread_join(*(pthread_t *)arg, &value) == 0);
  return value;
}

static void *join_itself(void *arg) {
  (void)arg;
  return (void *)(unsigned long)pthread_join(pthread_self(), NULL);
}

static void *detach_itself(void *arg) {
  (void)arg;
  CHECK(pthread_detach(pthread_self()) == 0);
  ran++;
  return NULL;
}

static void *change_data(void *arg) {
  (void)arg;
  initialised = 43;
  return NULL;
}

static void *grand_children(void *arg) {
  unsigned long depth = (unsigned long)arg;
  pthread_t child;
  void *value = NULL;
  if (depth == 0) return (void *)1;
  CHECK(pthread_create(&child, NULL, grand_children, (void *)(depth - 1)) == 0);
  CHECK(pthread_join(child, &value) == 0);
  return (char *)value + 1;
}

void test(void) {
  pthread_t threads[4];
  void *value;

  CHECK(pthread_self() == 0);
  /* One after the other: shares of the stack and places in the group are free again once a thread was joined. */
  for (int i = 0; i < 100; i++) {
    CHECK(pthread_create(&threads[0], NULL, add, (void *)(unsigned long)i) == 0);
    CHECK(threads[0] != 0);
    CHECK(pthread_join(threads[0], &value) == 0);
    CHECK((unsigned long)value == (unsigned long)i + 1);
  }
  CHECK(ran == 100);

  /* As many as there may be, and one too many. */
  for (unsigned long i = 0; i < 4; i++) CHECK(pthread_create(&threads[i], NULL, use_stack, (void *)(i + 1)) == 0);
  pthread_t more;
  CHECK(pthread_create(&more, NULL, add, NULL) != 0);
  go = 1;
  char *stacks[4];
  for (int i = 0; i < 4; i++) {
    CHECK(pthread_join(threads[i], (void **)&stacks[i]) == 0);
    CHECK(stacks[i] != NULL);
    for (int j = 0; j < i; j++) CHECK(stacks[i] - stacks[j] >= 2000 || stacks[j] - stacks[i] >= 2000);
    CHECK((char *)&threads - stacks[i] >= 2000);
  }

  /* Exit from any depth; in the first thread it does nothing. */
  for (unsigned long depth = 0; depth < 20; depth++) {
    CHECK(pthread_create(&threads[0], NULL, exits, (void *)depth) == 0);
    CHECK(pthread_join(threads[0], &value) == 0);
    CHECK((unsigned long)value == 77);
  }
  pthread_exit((void *)1);

  static pthread_t seen;
  CHECK(pthread_create(&threads[0], NULL, itself, &seen) == 0);
  CHECK(pthread_join(threads[0], NULL) == 0);
  CHECK(seen == threads[0]);
  /* It is unknown now, as any other number: WAMR takes it for a thread that has ended. */
  CHECK(pthread_join(threads[0], NULL) == 0);
  CHECK(pthread_join(123456, &value) == 0);
  CHECK(pthread_detach(threads[0]) == 0);
  CHECK(pthread_cancel(threads[0]) == 0);

  go = 0;
  static pthread_t first;
  CHECK(pthread_create(&first, NULL, use_stack, (void *)9) == 0);
  CHECK(pthread_create(&threads[1], NULL, join_other, &first) == 0);
  go = 1;
  CHECK(pthread_join(threads[1], &value) == 0);
  CHECK(value != NULL);

  CHECK(pthread_create(&threads[0], NULL, join_itself, NULL) == 0);
  CHECK(pthread_join(threads[0], &value) == 0);
  CHECK((unsigned long)value == 35);

  ran = 0;
  for (int i = 0; i < 20; i++) {
    /* Detached threads give their share back by themselves. */
    while (pthread_create(&threads[0], NULL, detach_itself, NULL) != 0) {}
    while (pthread_create(&threads[1], NULL, add, NULL) != 0) {}
    CHECK(pthread_detach(threads[1]) == 0);
  }
  while (ran < 40) {}

  while (pthread_create(&threads[0], NULL, grand_children, (void *)2) != 0) {}
  CHECK(pthread_join(threads[0], &value) == 0);
  CHECK((unsigned long)value == 3);

  /* Data is initialised once, and not again by each thread. */
  CHECK(text[0] == 'd' && initialised == 42);
  CHECK(pthread_create(&threads[0], NULL, change_data, NULL) == 0);
  CHECK(pthread_join(threads[0], NULL) == 0);
  CHECK(pthread_create(NULL, NULL, itself, &seen) == 0);
  CHECK(initialised == 43);
}
