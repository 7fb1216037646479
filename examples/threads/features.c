/* One check of each thing that POSIX threads offer beyond create, join, mutex and condition variable.
 *
 *     features
 *
 * A line per check, each the same in every run. It exits with the number of checks that failed. */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

enum { THREADS = 4, ROUNDS = 50 };

static int failures;

static void check(const char *what, int ok)
{
	printf("%s: %s\n", what, ok ? "ok" : "FAILED");
	failures += !ok;
}

static void run(int count, void *(*work)(void *))
{
	pthread_t threads[THREADS];
	for (int i = 0; i < count; i++)
		if (pthread_create(&threads[i], NULL, work, (void *)(intptr_t)i)) check("pthread_create", 0);
	for (int i = 0; i < count; i++) pthread_join(threads[i], NULL);
}

/* ---- thread-local variables start as they were written down, in every thread ---- */

static _Thread_local int64_t local = 1234567890123;
static _Thread_local char zeroes[300];
static atomic_int locals_ok;

static void *use_locals(void *id)
{
	int ok = local == 1234567890123;
	for (int i = 0; i < 300; i++) ok &= zeroes[i] == 0;
	local = (intptr_t)id;
	zeroes[299] = 1;
	atomic_fetch_add(&locals_ok, ok);
	return NULL;
}

/* ---- keys: a value per thread, and a destructor when it ends ---- */

static pthread_key_t key;
static atomic_int destroyed;

static void destroy(void *value) { atomic_fetch_add(&destroyed, (int)(intptr_t)value); }

static void *use_key(void *id)
{
	pthread_setspecific(key, (void *)((intptr_t)id + 1));
	return NULL;
}

/* ---- once ---- */

static pthread_once_t once = PTHREAD_ONCE_INIT;
static atomic_int initialised;

static void initialise(void) { atomic_fetch_add(&initialised, 1); }

static void *use_once(void *unused)
{
	pthread_once(&once, initialise);
	return unused;
}

/* ---- barrier: nobody enters a round before everyone has left the one before ---- */

static pthread_barrier_t barrier;
static atomic_int arrived, early, serial;

static void *use_barrier(void *unused)
{
	for (int round = 1; round <= ROUNDS; round++) {
		atomic_fetch_add(&arrived, 1);
		if (pthread_barrier_wait(&barrier) == PTHREAD_BARRIER_SERIAL_THREAD) atomic_fetch_add(&serial, 1);
		if (atomic_load(&arrived) != round * THREADS) atomic_fetch_add(&early, 1);
		pthread_barrier_wait(&barrier);
	}
	return unused;
}

/* ---- read-write lock: two plain variables never seen apart ---- */

static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static int left, right;
static atomic_int torn;

static void *use_rwlock(void *id)
{
	for (int i = 0; i < ROUNDS * 10; i++) {
		if ((intptr_t)id % 2) {
			pthread_rwlock_wrlock(&rwlock);
			left++;
			right++;
		} else {
			pthread_rwlock_rdlock(&rwlock);
			if (left != right) atomic_fetch_add(&torn, 1);
		}
		pthread_rwlock_unlock(&rwlock);
	}
	return NULL;
}

/* ---- semaphore ---- */

static sem_t tokens;
static atomic_int holders, too_many;

static void *use_semaphore(void *unused)
{
	for (int i = 0; i < ROUNDS; i++) {
		sem_wait(&tokens);
		if (atomic_fetch_add(&holders, 1) >= 2) atomic_fetch_add(&too_many, 1);
		atomic_fetch_sub(&holders, 1);
		sem_post(&tokens);
	}
	return unused;
}

/* ---- waiting with a deadline ---- */

static struct timespec in_milliseconds(int ms)
{
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	t.tv_nsec += ms * 1000000L;
	t.tv_sec += t.tv_nsec / 1000000000;
	t.tv_nsec %= 1000000000;
	return t;
}

static int milliseconds_since(const struct timespec *then)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	return (int)((now.tv_sec - then->tv_sec) * 1000 + (now.tv_nsec - then->tv_nsec) / 1000000);
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static void *try_the_lock(void *unused)
{
	struct timespec until = in_milliseconds(20);
	int busy = pthread_mutex_trylock(&mutex) == EBUSY;
	return pthread_mutex_timedlock(&mutex, &until) == ETIMEDOUT && busy ? (void *)1 : unused;
}

/* ---- many sleepers on one condition variable ---- */

static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static int sleeping, awake, go; /* guarded by `mutex` */

static void *sleep_on_cond(void *unused)
{
	pthread_mutex_lock(&mutex);
	sleeping++;
	pthread_cond_broadcast(&cond);
	while (!go) pthread_cond_wait(&cond, &mutex);
	awake++;
	pthread_mutex_unlock(&mutex);
	return unused;
}

/* ---- recursion in a mutex ---- */

static int lock_recursively(void)
{
	pthread_mutexattr_t attr;
	pthread_mutex_t recursive;
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(&recursive, &attr);
	int ok = !pthread_mutex_lock(&recursive) && !pthread_mutex_lock(&recursive);
	return ok && !pthread_mutex_unlock(&recursive) && !pthread_mutex_unlock(&recursive);
}

/* ---- leaving from deep inside ---- */

static void leave(int depth)
{
	if (depth == 0) pthread_exit((void *)77);
	leave(depth - 1);
}

static int cleaned;

static void clean(void *value) { cleaned = (int)(intptr_t)value; }

static void *leave_early(void *unused)
{
	pthread_cleanup_push(clean, (void *)5);
	leave(3);
	pthread_cleanup_pop(0);
	return unused;
}

int main(void)
{
	use_locals((void *)99); /* main's own are changed first: the others must not see that */
	run(THREADS, use_locals);
	check("thread-local variables", locals_ok == THREADS + 1 && local == 99);

	pthread_key_create(&key, destroy);
	run(THREADS, use_key);
	check("keys and their destructors", destroyed == 1 + 2 + 3 + 4 && pthread_key_delete(key) == 0);

	run(THREADS, use_once);
	check("once", initialised == 1);

	pthread_barrier_init(&barrier, NULL, THREADS);
	run(THREADS, use_barrier);
	check("barrier", !early && serial == ROUNDS);

	run(THREADS, use_rwlock);
	check("read-write lock", !torn && left == ROUNDS * 10 * (THREADS / 2));

	sem_init(&tokens, 0, 2);
	run(THREADS, use_semaphore);
	check("semaphore", !too_many);

	struct timespec start = in_milliseconds(0), until = in_milliseconds(20);
	pthread_mutex_lock(&mutex);
	int error;
	do error = pthread_cond_timedwait(&cond, &mutex, &until);
	while (!error);
	check("waiting with a deadline", error == ETIMEDOUT && milliseconds_since(&start) >= 19);

	pthread_t thread;
	void *result;
	pthread_create(&thread, NULL, try_the_lock, NULL);
	pthread_join(thread, &result);
	check("locking with a deadline", result == (void *)1);

	pthread_t sleepers[THREADS];
	for (int i = 0; i < THREADS; i++) pthread_create(&sleepers[i], NULL, sleep_on_cond, NULL);
	while (sleeping < THREADS) pthread_cond_wait(&cond, &mutex);
	go = 1;
	pthread_cond_broadcast(&cond);
	pthread_mutex_unlock(&mutex);
	for (int i = 0; i < THREADS; i++) pthread_join(sleepers[i], NULL);
	check("broadcast", awake == THREADS);

	check("recursive mutex", lock_recursively());

	pthread_create(&thread, NULL, leave_early, NULL);
	pthread_join(thread, &result);
	check("pthread_exit from inside", result == (void *)77 && cleaned == 5);
	return failures;
}
