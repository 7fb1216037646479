/* The declarations that programs for WAMR's pthread library are compiled with, after WAMR's doc/pthread_library.md: handles are
 * unsigned integers, attributes are not supported, and the timeout is relative, in microseconds. All functions come from
 * the host module "env". */
#ifndef WAMR_PTHREAD_H
#define WAMR_PTHREAD_H

typedef unsigned int pthread_t, pthread_mutex_t, pthread_cond_t, pthread_key_t, sem_t;

int pthread_create(pthread_t *thread, const void *attr, void *(*start)(void *), void *arg);
int pthread_join(pthread_t thread, void **value);
int pthread_detach(pthread_t thread);
int pthread_cancel(pthread_t thread);
pthread_t pthread_self(void);
void pthread_exit(void *value);

int pthread_mutex_init(pthread_mutex_t *mutex, const void *attr);
int pthread_mutex_lock(pthread_mutex_t *mutex);
int pthread_mutex_unlock(pthread_mutex_t *mutex);
int pthread_mutex_destroy(pthread_mutex_t *mutex);

int pthread_cond_init(pthread_cond_t *cond, const void *attr);
int pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex);
int pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex, unsigned long long us);
int pthread_cond_signal(pthread_cond_t *cond);
int pthread_cond_broadcast(pthread_cond_t *cond);
int pthread_cond_destroy(pthread_cond_t *cond);

int pthread_key_create(pthread_key_t *key, void (*destructor)(void *));
int pthread_setspecific(pthread_key_t key, const void *value);
void *pthread_getspecific(pthread_key_t key);
int pthread_key_delete(pthread_key_t key);

int posix_memalign(void **block, unsigned long alignment, unsigned long size);
void *malloc(unsigned long size);
void *calloc(unsigned long count, unsigned long size);
void *realloc(void *block, unsigned long size);
void free(void *block);

sem_t sem_open(const char *name, int flags, int mode, int value);
int sem_close(sem_t sem);
int sem_wait(sem_t sem);
int sem_trywait(sem_t sem);
int sem_post(sem_t sem);
int sem_getvalue(sem_t sem, int *value);
int sem_unlink(const char *name);

#endif
