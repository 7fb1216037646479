/* Thread-specific values and their destructors. */
#include "check.h"

static pthread_key_t key, plain;
SHARED(long) destroyed;

static void destroy(void *value) {
  /* It is cleared before. */
  CHECK(pthread_getspecific(key) == NULL);
  destroyed += (long)value;
}

static void exit_in_destructor(void *value) {
  destroyed += (long)value;
  pthread_exit(NULL);
}

static void *set(void *arg) {
  CHECK(pthread_getspecific(key) == NULL);
  CHECK(pthread_setspecific(key, arg) == 0);
  CHECK(pthread_setspecific(plain, arg) == 0);
  CHECK(pthread_getspecific(key) == arg && pthread_getspecific(plain) == arg);
  if ((long)arg % 2) pthread_exit(arg);
  return arg;
}

static void *look(void *arg) {
  (void)arg;
  return pthread_getspecific(plain);
}

void test(void) {
  pthread_t threads[3];
  void *value;
  CHECK(pthread_key_create(&key, destroy) == 0);
  CHECK(pthread_key_create(&plain, NULL) == 0);
  CHECK(key != plain);
  CHECK(pthread_setspecific(key, &key) == 0);
  for (long i = 0; i < 3; i++) CHECK(pthread_create(&threads[i], NULL, set, (void *)(100 + i)) == 0);
  for (long i = 0; i < 3; i++) CHECK(pthread_join(threads[i], &value) == 0 && (long)value == 100 + i);
  CHECK(destroyed == 303);
  CHECK(pthread_getspecific(key) == &key);

  /* A new key has no values, even in the place of an old one. */
  CHECK(pthread_setspecific(plain, &key) == 0);
  pthread_key_t old = plain;
  CHECK(pthread_key_delete(plain) == 0 && pthread_key_delete(plain) == -1);
  CHECK(pthread_setspecific(plain, &key) == -1 && pthread_getspecific(plain) == NULL);
  CHECK(pthread_key_create(&plain, exit_in_destructor) == 0 && plain == old);
  CHECK(pthread_getspecific(plain) == NULL);
  CHECK(pthread_create(&threads[0], NULL, look, NULL) == 0);
  CHECK(pthread_join(threads[0], &value) == 0 && value == NULL);
  CHECK(pthread_create(&threads[0], NULL, set, (void *)1000) == 0);
  CHECK(pthread_join(threads[0], &value) == 0 && (long)value == 1000);
  CHECK(destroyed == 2303);

  CHECK(pthread_setspecific(-1u, &key) == -1 && pthread_getspecific(1000) == NULL && pthread_key_delete(32) == -1);
  int created = 0;
  pthread_key_t more;
  while (pthread_key_create(&more, NULL) == 0) created++;
  CHECK(created == 30);
}
