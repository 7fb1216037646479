/* A mutex: alone, and with others that want it.
 *
 *     mutex [TIMES] [THREADS]
 *
 * Each of THREADS threads locks and unlocks the same pthread mutex TIMES times, and counts in between. The count comes out right only
 * if no two threads ever held it at once. With one thread, this is what a mutex costs that nobody else wants. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_THREADS = 64 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long times = 1000000, count; /* `count` is guarded by `lock` */

static void *add(void *unused)
{
	for (long i = 0; i < times; i++) {
		pthread_mutex_lock(&lock);
		count++;
		pthread_mutex_unlock(&lock);
	}
	return unused;
}

int main(int argc, char **argv)
{
	int threads = argc > 2 ? atoi(argv[2]) : 2;
	if (argc > 1) times = atol(argv[1]);
	if (times < 0 || threads < 1 || threads > MAX_THREADS) {
		fprintf(stderr, "usage: mutex [TIMES] [THREADS, 1 to %d]\n", MAX_THREADS);
		return 2;
	}
	pthread_t others[MAX_THREADS];
	for (int i = 0; i < threads; i++) {
		int error = pthread_create(&others[i], NULL, add, NULL);
		if (error) {
			fprintf(stderr, "mutex: cannot make thread %d: error %d\n", i, error);
			return 1;
		}
	}
	for (int i = 0; i < threads; i++) pthread_join(others[i], NULL);
	printf("%ld\n", count);
	return count == times * threads ? 0 : 1;
}
