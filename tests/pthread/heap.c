/* posix_memalign, and malloc for programs that were linked without. */
#include "check.h"

enum { BLOCKS = 64 };

static void *allocate(void *arg) {
  unsigned long tag = (unsigned long)arg;
  unsigned char *blocks[BLOCKS];
  for (int round = 0; round < 20; round++) {
    for (unsigned long i = 0; i < BLOCKS; i++) {
      unsigned long size = 1 + i * 7 % 300;
      blocks[i] = malloc(size);
      CHECK(blocks[i] != NULL && (unsigned long)blocks[i] % 16 == 0);
      for (unsigned long at = 0; at < size; at++) blocks[i][at] = (unsigned char)(tag + i);
    }
    for (unsigned long i = 0; i < BLOCKS; i++) {
      unsigned long size = 1 + i * 7 % 300;
      blocks[i] = realloc(blocks[i], 2 * size);
      for (unsigned long at = 0; at < size; at++) CHECK(blocks[i][at] == (unsigned char)(tag + i));
      free(blocks[i]);
    }
  }
  return NULL;
}

void test(void) {
  pthread_t threads[4];
  void *block;
  for (long i = 0; i < 4; i++) CHECK(pthread_create(&threads[i], NULL, allocate, (void *)(i * 50)) == 0);
  for (long i = 0; i < 4; i++) CHECK(pthread_join(threads[i], NULL) == 0);

  for (unsigned long alignment = 4; alignment <= 65536; alignment *= 2) {
    CHECK(posix_memalign(&block, alignment, 100) == 0);
    CHECK(block != NULL && (unsigned long)block % alignment == 0);
    free(block);
  }
  CHECK(posix_memalign(&block, 3, 100) == 22 && posix_memalign(&block, 0, 100) == 22 && posix_memalign(&block, 24, 1) == 22);
  CHECK(posix_memalign(&block, 16, 0x40000000) == 12);

  unsigned char *zeroes = calloc(100, 10);
  for (int i = 0; i < 1000; i++) CHECK(zeroes[i] == 0);
  CHECK(calloc(0x10000, 0x10000) == NULL && malloc(0x7fffffff) == NULL);
  CHECK(realloc(zeroes, 0x7fffffff) == NULL);
  zeroes = realloc(zeroes, 10);
  CHECK(zeroes != NULL && zeroes[9] == 0);
  free(zeroes);
  free(zeroes); /* is noticed, and does nothing */
  free(NULL);
  CHECK((zeroes = realloc(NULL, 5)) != NULL);
  free(zeroes);
}
