/* Mutexes and condition variables. */
#include "check.h"

enum { THREADS = 4, ROUNDS = 5000, ITEMS = 2000, SIZE = 8, TIMED_OUT = 110 };

static pthread_mutex_t mutex;
static pthread_cond_t not_empty, not_full, start_line;
static volatile unsigned counter; /* not atomic: the mutex guards it */
static int queue[SIZE], head, length, started, go;
SHARED(long) consumed;

static void *count(void *arg) {
  (void)arg;
  for (int i = 0; i < ROUNDS; i++) {
    CHECK(pthread_mutex_lock(&mutex) == 0);
    counter = counter + 1;
    CHECK(pthread_mutex_unlock(&mutex) == 0);
  }
  return NULL;
}

static void *produce(void *arg) {
  (void)arg;
  for (int i = 1; i <= ITEMS; i++) {
    pthread_mutex_lock(&mutex);
    while (length == SIZE) CHECK(pthread_cond_wait(&not_full, &mutex) == 0);
    queue[(head + length++) % SIZE] = i;
    CHECK(pthread_cond_signal(&not_empty) == 0);
    pthread_mutex_unlock(&mutex);
  }
  return NULL;
}

static void *consume(void *arg) {
  (void)arg;
  for (int i = 0; i < ITEMS; i++) {
    pthread_mutex_lock(&mutex);
    while (length == 0) CHECK(pthread_cond_wait(&not_empty, &mutex) == 0);
    consumed += queue[head];
    head = (head + 1) % SIZE;
    length--;
    CHECK(pthread_cond_signal(&not_full) == 0);
    pthread_mutex_unlock(&mutex);
  }
  return NULL;
}

static void *wait_for_start(void *arg) {
  pthread_mutex_lock(&mutex);
  started++;
  pthread_cond_signal(&not_full);
  while (!go) {
    if (arg)
      CHECK(pthread_cond_timedwait(&start_line, &mutex, 1000000000000ull) == 0);
    else
      CHECK(pthread_cond_wait(&start_line, &mutex) == 0);
  }
  pthread_mutex_unlock(&mutex);
  return NULL;
}

void test(void) {
  pthread_t threads[THREADS];
  CHECK(pthread_mutex_init(&mutex, NULL) == 0);
  CHECK(pthread_cond_init(&not_empty, NULL) == 0);
  CHECK(pthread_cond_init(&not_full, NULL) == 0);
  CHECK(pthread_cond_init(&start_line, NULL) == 0);
  CHECK(mutex != not_empty && not_empty != not_full);

  for (int i = 0; i < THREADS; i++) CHECK(pthread_create(&threads[i], NULL, count, NULL) == 0);
  for (int i = 0; i < THREADS; i++) CHECK(pthread_join(threads[i], NULL) == 0);
  CHECK(counter == THREADS * ROUNDS);

  for (int i = 0; i < THREADS; i++) CHECK(pthread_create(&threads[i], NULL, i % 2 ? produce : consume, NULL) == 0);
  for (int i = 0; i < THREADS; i++) CHECK(pthread_join(threads[i], NULL) == 0);
  CHECK(consumed == (long)ITEMS * (ITEMS + 1) && length == 0);

  for (long i = 0; i < THREADS; i++) CHECK(pthread_create(&threads[i], NULL, wait_for_start, (void *)(i % 2)) == 0);
  pthread_mutex_lock(&mutex);
  while (started < THREADS) CHECK(pthread_cond_wait(&not_full, &mutex) == 0);
  go = 1;
  CHECK(pthread_cond_broadcast(&start_line) == 0);
  pthread_mutex_unlock(&mutex);
  for (int i = 0; i < THREADS; i++) CHECK(pthread_join(threads[i], NULL) == 0);

  /* Nobody signals: the time passes, and the mutex is held again. */
  CHECK(pthread_mutex_lock(&mutex) == 0);
  CHECK(pthread_cond_timedwait(&start_line, &mutex, 0) == TIMED_OUT);
  CHECK(pthread_cond_timedwait(&start_line, &mutex, 3000) == TIMED_OUT);
  CHECK(pthread_mutex_destroy(&mutex) != 0);
  CHECK(pthread_mutex_unlock(&mutex) == 0);
  CHECK(pthread_cond_signal(&start_line) == 0);

  /* Handles of nothing, of something else, and of what is gone. */
  unsigned nothing = 0, wrong = 123456;
  CHECK(pthread_mutex_lock(&nothing) == -1 && pthread_mutex_unlock(&wrong) == -1);
  CHECK(pthread_mutex_lock(&start_line) == -1 && pthread_cond_signal(&mutex) == -1);
  CHECK(pthread_cond_wait(&mutex, &start_line) == -1 && pthread_cond_broadcast(&nothing) == -1);
  CHECK(pthread_cond_timedwait(&start_line, &wrong, 5) == -1);
  CHECK(pthread_mutex_destroy(&mutex) == 0 && pthread_mutex_destroy(&mutex) == -1);
  CHECK(pthread_mutex_lock(&mutex) == -1);
  CHECK(pthread_cond_destroy(&start_line) == 0 && pthread_cond_destroy(&start_line) == -1);
}
