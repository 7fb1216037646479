/* Two threads hand a token back and forth: the cost of one wake-up.
 *
 *     pingpong [ROUND_TRIPS]
 *
 * No mutex: the token is a word in memory, and a thread whose turn it is not sleeps on it with memory.atomic.wait32 until the
 * other has changed it and calls memory.atomic.notify. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#ifdef __wasm__
static void wait_while(atomic_int *word, int value) { __builtin_wasm_memory_atomic_wait32((int *)word, value, -1); }
static void wake_one(atomic_int *word) { __builtin_wasm_memory_atomic_notify((int *)word, 1); }
#else /* Linux's futex, to check the program against a native build */
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
static void wait_while(atomic_int *word, int value) { syscall(SYS_futex, word, FUTEX_WAIT, value, NULL, NULL, 0); }
static void wake_one(atomic_int *word) { syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0); }
#endif

enum { PING, PONG };

static atomic_int turn = PING;
static long round_trips = 40000, hits[2]; /* each thread writes its own count only */

static void play(int me)
{
	for (long i = 0; i < round_trips; i++) {
		while (atomic_load(&turn) != me) wait_while(&turn, !me);
		hits[me]++;
		atomic_store(&turn, !me);
		wake_one(&turn);
	}
}

static void *play_pong(void *unused)
{
	play(PONG);
	return unused;
}

int main(int argc, char **argv)
{
	if (argc > 1) round_trips = atol(argv[1]);
	pthread_t other;
	int error = pthread_create(&other, NULL, play_pong, NULL);
	if (error) {
		fprintf(stderr, "pingpong: cannot make a thread: error %d\n", error);
		return 1;
	}
	play(PING);
	pthread_join(other, NULL);
	printf("%ld pings, %ld pongs\n", hits[PING], hits[PONG]);
	return 0;
}
