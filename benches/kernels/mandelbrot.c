/* The Mandelbrot set, a row of 256 points for each unit of work: short loops of doubles that end at a compare. run(rows) sums
 * the iterations of all points; rows lie between -1.25 and 1.25, and come again after 256. */
#include "kernel.h"

enum { WIDTH = 256, HEIGHT = 256, MOST = 200 };

static int iterations(double x0, double y0)
{
	double x = 0, y = 0;
	int n = 0;
	while (n < MOST && x * x + y * y <= 4) {
		double next = x * x - y * y + x0;
		y = 2 * x * y + y0;
		x = next;
		n++;
	}
	return n;
}

int64_t run(int32_t rows)
{
	int64_t total = 0;
	for (int32_t row = 0; row < rows; row++) {
		double y = (row * 37 % HEIGHT) * (2.5 / HEIGHT) - 1.25;
		for (int column = 0; column < WIDTH; column++) total += iterations(column * (3.0 / WIDTH) - 2.25, y);
	}
	return total;
}

KERNEL("mandelbrot", 1500)
