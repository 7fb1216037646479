/* The Mandelbrot set, a row at a time from a shared counter.
 *
 *     mandelbrot [--checksum] [SIZE] [THREADS]
 *
 * Writes a binary PGM image of SIZE x SIZE to standard output, or one line with its checksum. Rows near the middle cost
 * far more than those at the edge, so the threads take rows as they become free. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_THREADS = 64, MAX_SIZE = 8000, LIMIT = 255 };

static int size = 400;
static uint8_t *image;
static atomic_int next_row;

static uint8_t escape(double cx, double cy)
{
	double x = 0, y = 0;
	for (int i = 0; i < LIMIT; i++) {
		double xx = x * x, yy = y * y;
		if (xx + yy > 4) return (uint8_t)i;
		y = 2 * x * y + cy;
		x = xx - yy + cx;
	}
	return LIMIT;
}

static void *compute_rows(void *unused)
{
	(void)unused;
	for (int row; (row = atomic_fetch_add(&next_row, 1)) < size;) {
		double cy = 3.0 * row / size - 1.5;
		for (int col = 0; col < size; col++)
			image[(size_t)row * size + col] = escape(3.0 * col / size - 2.0, cy);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	int threads = 2, only_checksum = 0, positional = 0;
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--checksum")) only_checksum = 1;
		else if (positional++ == 0) size = atoi(argv[i]);
		else threads = atoi(argv[i]);
	}
	if (size < 1 || size > MAX_SIZE || threads < 1 || threads > MAX_THREADS) {
		fprintf(stderr, "usage: mandelbrot [--checksum] [SIZE, 1 to %d] [THREADS, 1 to %d]\n", MAX_SIZE, MAX_THREADS);
		return 2;
	}
	size_t pixels = (size_t)size * size;
	image = malloc(pixels);
	if (!image) {
		fprintf(stderr, "mandelbrot: not enough memory for %d x %d\n", size, size);
		return 1;
	}
	pthread_t handles[MAX_THREADS];
	for (int i = 0; i < threads; i++) {
		int error = pthread_create(&handles[i], NULL, compute_rows, NULL);
		if (error) {
			fprintf(stderr, "mandelbrot: cannot make a thread: error %d\n", error);
			return 1;
		}
	}
	for (int i = 0; i < threads; i++) pthread_join(handles[i], NULL);

	if (only_checksum) {
		uint64_t checksum = 0xcbf29ce484222325ull, inside = 0;
		for (size_t i = 0; i < pixels; i++) {
			checksum = (checksum ^ image[i]) * 0x100000001b3ull;
			inside += image[i] == LIMIT;
		}
		printf("mandelbrot %d x %d, %llu points inside, checksum %016llx\n", size, size, (unsigned long long)inside,
		       (unsigned long long)checksum);
	} else {
		printf("P5\n%d %d\n255\n", size, size);
		if (fwrite(image, 1, pixels, stdout) != pixels || fflush(stdout)) {
			fprintf(stderr, "mandelbrot: cannot write the image\n");
			return 1;
		}
	}
	return 0;
}
