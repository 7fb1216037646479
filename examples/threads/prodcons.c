/* Producers and consumers over a bounded queue: a mutex and two condition variables.
 *
 *     prodcons [PRODUCERS] [CONSUMERS] [ITEMS]
 *
 * Each producer puts ITEMS numbers into the queue, all different; the consumers add up what they take. The sum does not
 * depend on who takes what. */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_THREADS = 64, CAPACITY = 16 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t not_empty = PTHREAD_COND_INITIALIZER, not_full = PTHREAD_COND_INITIALIZER;
static uint64_t queue[CAPACITY];
static int head, length, producing; /* guarded by `lock`, as the queue is */
static long items = 10000;

struct consumer { uint64_t sum, taken; };

static void *produce(void *arg)
{
	uint64_t first = (uint64_t)(uintptr_t)arg * items;
	for (long i = 0; i < items; i++) {
		pthread_mutex_lock(&lock);
		while (length == CAPACITY) pthread_cond_wait(&not_full, &lock);
		queue[(head + length++) % CAPACITY] = first + i;
		pthread_cond_signal(&not_empty);
		pthread_mutex_unlock(&lock);
	}
	pthread_mutex_lock(&lock);
	if (--producing == 0) pthread_cond_broadcast(&not_empty);
	pthread_mutex_unlock(&lock);
	return NULL;
}

static void *consume(void *arg)
{
	struct consumer *self = arg;
	for (;;) {
		pthread_mutex_lock(&lock);
		while (!length && producing) pthread_cond_wait(&not_empty, &lock);
		if (!length) {
			pthread_mutex_unlock(&lock);
			return NULL;
		}
		uint64_t value = queue[head];
		head = (head + 1) % CAPACITY;
		length--;
		pthread_cond_signal(&not_full);
		pthread_mutex_unlock(&lock);
		self->sum += value;
		self->taken++;
	}
}

static void start(pthread_t *thread, void *(*run)(void *), void *arg)
{
	int error = pthread_create(thread, NULL, run, arg);
	if (error) {
		fprintf(stderr, "prodcons: cannot make a thread: error %d\n", error);
		exit(1);
	}
}

int main(int argc, char **argv)
{
	int producers = argc > 1 ? atoi(argv[1]) : 3, consumers = argc > 2 ? atoi(argv[2]) : 3;
	if (argc > 3) items = atol(argv[3]);
	if (producers < 1 || producers > MAX_THREADS || consumers < 1 || consumers > MAX_THREADS || items < 0) {
		fprintf(stderr, "usage: prodcons [PRODUCERS, 1 to %d] [CONSUMERS, 1 to %d] [ITEMS]\n", MAX_THREADS, MAX_THREADS);
		return 2;
	}
	pthread_t threads[2 * MAX_THREADS];
	static struct consumer results[MAX_THREADS];
	producing = producers;
	for (int i = 0; i < consumers; i++) start(&threads[i], consume, &results[i]);
	for (int i = 0; i < producers; i++) start(&threads[consumers + i], produce, (void *)(uintptr_t)i);
	for (int i = 0; i < producers + consumers; i++) pthread_join(threads[i], NULL);

	uint64_t sum = 0, taken = 0, n = (uint64_t)producers * items;
	for (int i = 0; i < consumers; i++) {
		sum += results[i].sum;
		taken += results[i].taken;
	}
	if (taken != n || sum != (n ? n * (n - 1) / 2 : 0)) {
		fprintf(stderr, "prodcons: items were lost: %llu of %llu\n", (unsigned long long)taken, (unsigned long long)n);
		return 1;
	}
	printf("%d producers, %d consumers: %llu items, sum %llu\n", producers, consumers, (unsigned long long)taken,
	       (unsigned long long)sum);
	return 0;
}
