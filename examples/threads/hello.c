/* Ten threads, and a line from each.
 *
 *     hello [THREADS]
 *
 * Each thread prints a line of its own, in whatever order they come to run, and leaves a greeting in its slot. Main joins
 * them in order and prints the slots in order. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_THREADS = 100 };

static char slots[MAX_THREADS][64];

static void *greet(void *arg)
{
	int id = (int)(long)arg;
	printf("thread %d runs\n", id);
	snprintf(slots[id], sizeof slots[id], "hello from thread %d", id);
	return arg;
}

int main(int argc, char **argv)
{
	int threads = argc > 1 ? atoi(argv[1]) : 10;
	pthread_t handles[MAX_THREADS];
	if (threads < 1 || threads > MAX_THREADS) {
		fprintf(stderr, "usage: hello [THREADS, 1 to %d]\n", MAX_THREADS);
		return 2;
	}
	for (int i = 0; i < threads; i++) {
		int error = pthread_create(&handles[i], NULL, greet, (void *)(long)i);
		if (error) {
			fprintf(stderr, "hello: cannot make thread %d: error %d\n", i, error);
			return 1;
		}
	}
	for (int i = 0; i < threads; i++) {
		void *result;
		pthread_join(handles[i], &result);
		printf("main joined %ld: %s\n", (long)result, slots[i]);
	}
	printf("%d threads said hello\n", threads);
	return 0;
}
