/* Named semaphores. */
#include "check.h"

enum { CREATE = 0100, EXCLUSIVE = 0200, FAILED = -1, ROUNDS = 2000 };

static sem_t ping, pong;
static volatile int turns;

static void *answer(void *arg) {
  (void)arg;
  for (int i = 0; i < ROUNDS; i++) {
    CHECK(sem_wait(ping) == 0);
    turns = turns + 1;
    CHECK(sem_post(pong) == 0);
  }
  return NULL;
}

void test(void) {
  pthread_t thread;
  int value = -1;
  CHECK(sem_open("/ping", 0, 0, 1) == (sem_t)FAILED);
  ping = sem_open("/ping", CREATE, 0600, 0);
  pong = sem_open("/pong", CREATE | EXCLUSIVE, 0600, 0);
  CHECK(ping != (sem_t)FAILED && pong != (sem_t)FAILED && ping != pong);
  CHECK(sem_open("/ping", 0, 0, 0) == ping);
  CHECK(sem_open("/ping", CREATE | EXCLUSIVE, 0, 0) == (sem_t)FAILED);
  CHECK(sem_open("/large", CREATE, 0, -1) == (sem_t)FAILED);

  CHECK(pthread_create(&thread, NULL, answer, NULL) == 0);
  for (int i = 0; i < ROUNDS; i++) {
    CHECK(turns == i);
    CHECK(sem_post(ping) == 0);
    CHECK(sem_wait(pong) == 0);
  }
  CHECK(pthread_join(thread, NULL) == 0);
  CHECK(turns == ROUNDS);

  CHECK(sem_trywait(ping) == FAILED);
  CHECK(sem_post(ping) == 0 && sem_post(ping) == 0);
  CHECK(sem_getvalue(ping, &value) == 0 && value == 2);
  CHECK(sem_trywait(ping) == 0);
  CHECK(sem_getvalue(ping, &value) == 0 && value == 1);

  /* Closing leaves name and value; what is unlinked begins anew. */
  CHECK(sem_close(ping) == 0 && sem_close(ping) == FAILED);
  CHECK(sem_post(ping) == FAILED && sem_wait(ping) == FAILED && sem_getvalue(ping, &value) == FAILED);
  ping = sem_open("/ping", 0, 0, 0);
  CHECK(sem_getvalue(ping, &value) == 0 && value == 1);
  CHECK(sem_unlink("/ping") == 0 && sem_unlink("/ping") == FAILED);
  CHECK(sem_trywait(ping) == 0);
  sem_t other = sem_open("/ping", CREATE, 0600, 5);
  CHECK(other != ping && sem_getvalue(other, &value) == 0 && value == 5);
  CHECK(sem_wait(123456) == FAILED && sem_trywait(0) == FAILED);

  sem_t full = sem_open("/full", CREATE, 0600, 0x7fffffff);
  CHECK(full != (sem_t)FAILED && sem_post(full) == FAILED);
  char name[300];
  for (unsigned i = 0; i < sizeof name - 1; i++) name[i] = 'n';
  name[sizeof name - 1] = 0;
  CHECK(sem_open(name, CREATE, 0600, 0) == (sem_t)FAILED && sem_unlink(name) == FAILED);
}
