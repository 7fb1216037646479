/* Many short threads.
 *
 *     spawnstorm [JOINED] [DETACHED] [AT_ONCE]
 *
 * Makes and joins JOINED threads, AT_ONCE of them at a time, then DETACHED ones that nobody joins, again no more than AT_ONCE
 * at a time. Each takes the next number and leaves it where it can be checked that no thread ran twice or not at all. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_AT_ONCE = 64, MAX_THREADS = 1000000 };

static atomic_int ran;
static _Thread_local int visits; /* fresh in every thread */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int detached_done; /* guarded by `lock` */

static void *joined(void *arg)
{
	atomic_fetch_add(&ran, ++visits);
	return arg;
}

static void *detached(void *arg)
{
	atomic_fetch_add(&ran, ++visits);
	pthread_mutex_lock(&lock);
	detached_done++;
	pthread_cond_signal(&changed);
	pthread_mutex_unlock(&lock);
	return arg;
}

static void start(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), long id)
{
	int error = pthread_create(thread, attr, run, (void *)id);
	if (error) {
		fprintf(stderr, "spawnstorm: cannot make thread %ld: error %d\n", id, error);
		exit(1);
	}
}

static void wait_for_detached(int count)
{
	pthread_mutex_lock(&lock);
	while (detached_done < count) pthread_cond_wait(&changed, &lock);
	pthread_mutex_unlock(&lock);
}

int main(int argc, char **argv)
{
	int to_join = argc > 1 ? atoi(argv[1]) : 1000, to_detach = argc > 2 ? atoi(argv[2]) : 200;
	int at_once = argc > 3 ? atoi(argv[3]) : 8;
	if (to_join < 0 || to_join > MAX_THREADS || to_detach < 0 || to_detach > MAX_THREADS || at_once < 1 || at_once > MAX_AT_ONCE) {
		fprintf(stderr, "usage: spawnstorm [JOINED] [DETACHED] [AT_ONCE, 1 to %d]\n", MAX_AT_ONCE);
		return 2;
	}
	int joined_ok = 0;
	for (int first = 0; first < to_join; first += at_once) {
		pthread_t threads[MAX_AT_ONCE];
		int count = to_join - first < at_once ? to_join - first : at_once;
		for (int i = 0; i < count; i++) start(&threads[i], NULL, joined, first + i);
		for (int i = 0; i < count; i++) {
			void *result;
			joined_ok += pthread_join(threads[i], &result) == 0 && (long)result == first + i;
		}
	}
	pthread_attr_t attr;
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	for (int i = 0; i < to_detach; i++) {
		pthread_t thread;
		wait_for_detached(i + 1 - at_once);
		if (i % 2) {
			start(&thread, &attr, detached, i);
		} else {
			start(&thread, NULL, detached, i);
			pthread_detach(thread);
		}
	}
	wait_for_detached(to_detach);
	printf("joined %d, detached %d, ran %d\n", joined_ok, detached_done, atomic_load(&ran));
	return joined_ok == to_join && ran == to_join + to_detach ? 0 : 1;
}
