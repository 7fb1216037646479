/* Cancelling one thread, wherever it is. */
#include "check.h"

#define CANCELED ((void *)-1)

static pthread_mutex_t mutex, own;
static pthread_cond_t cond;
static pthread_key_t key;
static sem_t sem;
SHARED(int) ready, destroyed;

static void destroy(void *value) {
  (void)value;
  destroyed++;
}

static void begin(void) {
  CHECK(pthread_setspecific(key, &key) == 0);
  ready = 1;
}

static void *computes(void *arg) {
  begin();
  for (volatile int i = 0;; i++) {}
  return arg;
}

static void *locks(void *arg) {
  begin();
  pthread_mutex_lock(&mutex);
  CHECK(0);
  return arg;
}

static void *waits(void *arg) {
  pthread_mutex_lock(&own);
  begin();
  for (;;) pthread_cond_wait(&cond, &own);
  return arg;
}

static void *waits_long(void *arg) {
  pthread_mutex_lock(&own);
  begin();
  for (;;) pthread_cond_timedwait(&cond, &own, ~0ull);
  return arg;
}

static void *waits_for_semaphore(void *arg) {
  begin();
  sem_wait(sem);
  CHECK(0);
  return arg;
}

static void *joins(void *arg) {
  begin();
  pthread_join(*(pthread_t *)arg, NULL);
  CHECK(0);
  return arg;
}

static void *waits_in_memory(void *arg) {
  static int word;
  begin();
  for (;;) __builtin_wasm_memory_atomic_wait32(&word, 0, -1);
  return arg;
}

static void *cancels_itself(void *arg) {
  begin();
  pthread_cancel(pthread_self());
  CHECK(0);
  return arg;
}

static void cancel(void *(*start)(void *), void *arg, int wait) {
  pthread_t thread;
  void *value = NULL;
  ready = 0;
  destroyed = 0;
  CHECK(pthread_mutex_init(&own, NULL) == 0);
  CHECK(pthread_create(&thread, NULL, start, arg) == 0);
  while (wait && !ready) {}
  CHECK(pthread_cancel(thread) == 0);
  CHECK(pthread_join(thread, &value) == 0);
  CHECK(value == CANCELED);
  /* Whether it had begun is open if nobody waited for that. */
  CHECK(destroyed == 1 || !wait);
}

void test(void) {
  static pthread_t sleeper;
  CHECK(pthread_mutex_init(&mutex, NULL) == 0);
  CHECK(pthread_cond_init(&cond, NULL) == 0);
  CHECK(pthread_key_create(&key, destroy) == 0);
  sem = sem_open("s", 0100, 0600, 0);
  CHECK(pthread_mutex_lock(&mutex) == 0);
  CHECK(pthread_create(&sleeper, NULL, locks, NULL) == 0);
  while (!ready) {}
  for (int round = 0; round < 10; round++) {
    int wait = round % 2;
    cancel(computes, NULL, wait);
    cancel(locks, NULL, wait);
    cancel(waits, NULL, wait);
    cancel(waits_long, NULL, wait);
    cancel(waits_for_semaphore, NULL, wait);
    cancel(joins, &sleeper, wait);
    cancel(waits_in_memory, NULL, wait);
    cancel(cancels_itself, NULL, wait);
  }
  CHECK(pthread_cancel(sleeper) == 0 && pthread_join(sleeper, NULL) == 0);
  /* The first thread is not cancelled. */
  CHECK(pthread_cancel(pthread_self()) == 0);
}
