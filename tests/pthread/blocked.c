/* Threads that block in one of the library's functions while another ends the program.
 *
 * `blocked(function, ending, first)`: which function to block in; how the program ends: 0 a trap, 1 an exit with code 7, 2 not at
 * all; whether the first thread blocks, or the second. */
#include "check.h"

static pthread_mutex_t mutex, own;
static pthread_cond_t cond;
static pthread_t sleeper;
static sem_t sem;
static int function, ending;
SHARED(int) ready;

static void block(void) {
  CHECK(pthread_mutex_lock(&own) == 0);
  ready++;
  for (;;) {
    switch (function) {
      case 0: pthread_join(sleeper, NULL); break;
      case 1: pthread_mutex_lock(&mutex); break;
      case 2: pthread_cond_wait(&cond, &own); break;
      case 3: pthread_cond_timedwait(&cond, &own, ~0ull); break;
      case 4: sem_wait(sem); break;
      default: CHECK(0);
    }
  }
}

static void *block_here(void *arg) {
  block();
  return arg;
}

static void *lock_for_ever(void *arg) {
  ready++;
  pthread_mutex_lock(&mutex);
  return arg;
}

/* Not inlined, so that backtraces name it. */
__attribute__((noinline)) static void *end(void *arg) {
  while (ready < 2) {}
  if (ending == 0) __builtin_trap();
  if (ending == 1) proc_exit(7);
  return arg;
}

__attribute__((export_name("blocked"))) void blocked(int which, int how, int first) {
  pthread_t thread;
  function = which;
  ending = how;
  CHECK(pthread_mutex_init(&mutex, NULL) == 0 && pthread_mutex_init(&own, NULL) == 0);
  CHECK(pthread_cond_init(&cond, NULL) == 0);
  sem = sem_open("s", 0100, 0600, 0);
  CHECK(pthread_mutex_lock(&mutex) == 0);
  CHECK(pthread_create(&sleeper, NULL, lock_for_ever, NULL) == 0);
  if (first) {
    CHECK(pthread_create(&thread, NULL, end, NULL) == 0);
    block();
  } else {
    CHECK(pthread_create(&thread, NULL, block_here, NULL) == 0);
    end(NULL);
    pthread_join(thread, NULL);
  }
}

void test(void) {}
