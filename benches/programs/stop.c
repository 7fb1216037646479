/* The end of a program whose other threads are busy.
 *
 *     stop spin|wait [THREADS]
 *
 * Starts THREADS threads, which compute or wait for ever; a while later main prints a line and exits with code 3. How long it
 * takes from that line to the end of the process is what stopping the threads costs. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_THREADS = 64 };

static atomic_int begun;
static volatile uint32_t sink; /* so that there is something to compute for */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t never = PTHREAD_COND_INITIALIZER;

static void *spin(void *arg)
{
	uint32_t state = 2463534242u + (uint32_t)(uintptr_t)arg;
	atomic_fetch_add(&begun, 1);
	for (;;) {
		for (int i = 0; i < 1000000; i++) {
			state ^= state << 13;
			state ^= state >> 17;
			state ^= state << 5;
		}
		sink = state;
	}
	return NULL;
}

static void *wait(void *arg)
{
	pthread_mutex_lock(&lock);
	atomic_fetch_add(&begun, 1);
	for (;;) pthread_cond_wait(&never, &lock);
	return arg;
}

int main(int argc, char **argv)
{
	int spins = argc > 1 && !strcmp(argv[1], "spin"), threads = argc > 2 ? atoi(argv[2]) : 2;
	if (argc < 2 || (!spins && strcmp(argv[1], "wait")) || threads < 1 || threads > MAX_THREADS) {
		fprintf(stderr, "usage: stop spin|wait [THREADS, 1 to %d]\n", MAX_THREADS);
		return 2;
	}
	for (int i = 0; i < threads; i++) {
		pthread_t thread;
		int error = pthread_create(&thread, NULL, spins ? spin : wait, (void *)(uintptr_t)i);
		if (error) {
			fprintf(stderr, "stop: cannot make a thread: error %d\n", error);
			return 1;
		}
	}
	struct timespec pause = { 0, 100000000 };
	while (atomic_load(&begun) < threads) nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
	nanosleep(&pause, NULL);
	printf("%d threads %s\n", threads, spins ? "compute" : "wait");
	fflush(stdout);
	exit(3);
}
