/* POSIX threads for wasm, over the wasi-threads ABI (https://github.com/WebAssembly/wasi-threads).
 *
 * What musl's own src/thread files cannot do without a Linux kernel: make a thread, end it, join or detach it,
 * and sleep until a word in memory changes. Everything else (mutexes, condition variables, barriers, keys, ...) is
 * musl's, compiled as it is; see build_sysroot.py and sysfutex.h.
 *
 * A thread's block is one allocation:
 *
 *     [ stack, growing down | start arguments | thread-local storage | table of pthread keys ]
 *
 * `struct pthread` itself is a thread-local variable, and so lives inside the block too. A thread cannot free the stack
 * that it stands on. A joined thread's block is freed by the joiner, a detached thread's by the next thread that is
 * made: both only after `detach_state` reads DT_EXITED, which the trampoline writes once it no longer uses that stack.
 */
#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <threads.h>
#include <time.h>
#include <wasi/api.h>
#include "libc.h"
#include "pthread_impl.h"
#include "stdio_impl.h"
#include "sysfutex.h"

/* The host gives out 1 to 0x1fffffff. musl's mutexes keep the owner's id in 30 bits and give 0x3fffffff a meaning of
 * its own, so the main thread takes the first id after the host's. */
#define MAIN_TID 0x20000000
#define ALIGN_UP(x, a) (((x) + (a) - 1) & -(uintptr_t)(a))

struct start {
	void *(*run)(void *);
	void *arg;
	char *stack_top;
	char *tls;
	struct pthread *self;
	int c11; /* `run` returns int: C11's thrd_create */
};

_Thread_local struct pthread __wasilibc_pthread_self;
volatile int __thread_list_lock;
static struct pthread *exited_detached; /* linked by `sysinfo`, guarded by __thread_list_lock */

extern void *__pthread_tsd_main[];
extern void __wasm_init_tls(void *);

__asm__(".globaltype __stack_pointer, i32\n.globaltype __tls_base, i32\n");
#define SET_GLOBAL(name, value) __asm__ volatile("local.get %0\nglobal.set " name : : "r"(value))

/* ---- waiting: what musl asks of Linux's futex ---- */

static int futex_wait(volatile void *addr, int expected, const struct timespec *timeout)
{
	int64_t ns = -1;
	if (timeout) {
		if (timeout->tv_sec < 0) return -ETIMEDOUT;
		if (__builtin_mul_overflow((int64_t)timeout->tv_sec, 1000000000, &ns) ||
		    __builtin_add_overflow(ns, (int64_t)timeout->tv_nsec, &ns))
			ns = INT64_MAX;
	}
	switch (__builtin_wasm_memory_atomic_wait32((int *)addr, expected, ns)) {
	case 0: return 0;
	case 1: return -EAGAIN;
	default: return -ETIMEDOUT;
	}
}

long __sysfutex(int nr, volatile void *addr, int op, int val, const struct timespec *timeout, volatile void *addr2)
{
	if (nr != SYS_futex) return -ENOSYS;
	switch (op & ~FUTEX_PRIVATE) {
	case FUTEX_WAIT:
		return futex_wait(addr, val, timeout);
	case FUTEX_WAKE:
		return __builtin_wasm_memory_atomic_notify((int *)addr, val);
	case FUTEX_REQUEUE:
		/* Linux would move one waiter over to `addr2`. Woken instead, it finds the mutex taken and waits there itself. */
		return __builtin_wasm_memory_atomic_notify((int *)addr, 1);
	}
	return -ENOSYS;
}

/* musl keeps a condition variable's clock as the number that Linux gives it; in WASI a clock is a pointer. */
static clockid_t clock_of(clockid_t clock)
{
	switch ((uintptr_t)clock) {
	case 0: return CLOCK_REALTIME;
	case 1: return CLOCK_MONOTONIC;
	default: return clock;
	}
}

int __timedwait_cp(volatile int *addr, int val, clockid_t clock, const struct timespec *until, int priv)
{
	struct timespec left;
	if (until) {
		if (until->tv_nsec < 0 || until->tv_nsec >= 1000000000) return EINVAL;
		if (clock_gettime(clock_of(clock), &left)) return EINVAL;
		left.tv_sec = until->tv_sec - left.tv_sec;
		if ((left.tv_nsec = until->tv_nsec - left.tv_nsec) < 0) {
			left.tv_sec--;
			left.tv_nsec += 1000000000;
		}
	}
	return futex_wait(addr, val, until ? &left : 0) == -ETIMEDOUT ? ETIMEDOUT : 0;
}

int __timedwait(volatile int *addr, int val, clockid_t clock, const struct timespec *until, int priv)
{
	return __timedwait_cp(addr, val, clock, until, priv);
}

int pthread_condattr_setclock(pthread_condattr_t *a, clockid_t clock)
{
	if (clock != CLOCK_REALTIME && clock != CLOCK_MONOTONIC) return EINVAL;
	a->__attr = (a->__attr & 0x80000000) | (clock == CLOCK_MONOTONIC);
	return 0;
}

/* ---- the list of threads: pthread_key_delete walks it ---- */

void __tl_lock(void)
{
	int owner;
	while ((owner = a_cas(&__thread_list_lock, 0, __pthread_self()->tid)))
		__wait(&__thread_list_lock, 0, owner, 1);
}

void __tl_unlock(void)
{
	a_store(&__thread_list_lock, 0);
	__wake(&__thread_list_lock, 1, 1);
}

static void list_insert(struct pthread *t)
{
	struct pthread *self = __pthread_self();
	__tl_lock();
	t->next = self->next;
	t->prev = self;
	t->next->prev = t;
	self->next = t;
	libc.threads_minus_1++;
	__tl_unlock();
}

static void list_remove(struct pthread *t)
{
	t->next->prev = t->prev;
	t->prev->next = t->next;
	t->next = t->prev = t;
	libc.threads_minus_1--;
}

/* ---- making a thread ---- */

static void init_self(struct pthread *t, struct pthread *parent)
{
	t->self = t;
	t->locale = &libc.global_locale;
	t->robust_list.head = &t->robust_list.head;
	t->detach_state = DT_JOINABLE;
	t->next = t->prev = t;
	if (parent) t->canary = parent->canary;
}

/* crt1 calls this first of all, for the main thread. */
void __wasi_init_tp(void)
{
	struct pthread *self = __pthread_self();
	init_self(self, 0);
	self->tid = MAIN_TID;
}

/* Until a second thread exists, libc takes no locks and stdio is marked lock-free. Never undone. */
static void first_thread(struct pthread *self)
{
	FILE *std[] = { __stdin_used, __stdout_used, __stderr_used };
	for (FILE *f = *__ofl_lock(); f; f = f->next)
		if (f->lock < 0) f->lock = 0;
	__ofl_unlock();
	for (int i = 0; i < 3; i++)
		if (std[i] && std[i]->lock < 0) std[i]->lock = 0;
	if (!self->tsd) self->tsd = __pthread_tsd_main;
	libc.need_locks = 1;
	libc.threaded = 1;
}

/* Writes the initial image of the thread-local variables to `tls`. The linker's function also makes `tls` the current
 * base, which is put back. Not inlined, so that no caller keeps an address of a variable across the change. */
static __attribute__((noinline)) void write_tls_image(char *tls)
{
	void *mine = __builtin_wasm_tls_base();
	__wasm_init_tls(tls);
	SET_GLOBAL("__tls_base", mine);
}

static void free_exited(void)
{
	struct pthread *todo = 0, **link;
	__tl_lock();
	for (link = &exited_detached; *link;) {
		struct pthread *t = *link;
		if (t->detach_state == DT_EXITED) {
			*link = (struct pthread *)t->sysinfo;
			t->sysinfo = (uintptr_t)todo;
			todo = t;
		} else {
			link = (struct pthread **)&t->sysinfo;
		}
	}
	__tl_unlock();
	while (todo) {
		struct pthread *t = todo;
		todo = (struct pthread *)t->sysinfo;
		free(t->map_base);
	}
}

int __pthread_create(pthread_t *restrict out, const pthread_attr_t *restrict attr, void *(*run)(void *), void *restrict arg)
{
	struct pthread *self = __pthread_self();
	int c11 = attr == __ATTRP_C11_THREAD;
	if (c11) attr = 0;
	if (!libc.threaded) first_thread(self);
	free_exited();

	char *own_stack = attr ? (char *)attr->_a_stackaddr : 0; /* its top, as musl keeps it */
	size_t stack_size = attr && attr->_a_stacksize ? attr->_a_stacksize : __default_stacksize;
	size_t below = ALIGN_UP(own_stack ? 0 : stack_size, 16);
	size_t tls_align = __builtin_wasm_tls_align(), tls_size = __builtin_wasm_tls_size();
	if (tls_align < 16) tls_align = 16;
	size_t rest = sizeof(struct start) + tls_align + ALIGN_UP(tls_size, 16) + __pthread_tsd_size;
	if (below + rest < stack_size && !own_stack) return EAGAIN; /* it wrapped around */

	char *block = malloc(below + rest);
	if (!block) return EAGAIN;
	struct start *s = (struct start *)(block + below);
	char *tls = (char *)ALIGN_UP((uintptr_t)(s + 1), tls_align);
	char *tsd = tls + ALIGN_UP(tls_size, 16);
	memset(tsd, 0, __pthread_tsd_size);
	write_tls_image(tls);

	struct pthread *t = (struct pthread *)(tls + ((char *)self - (char *)__builtin_wasm_tls_base()));
	init_self(t, self);
	t->map_base = (unsigned char *)block;
	t->map_size = below + rest;
	t->tsd = (void **)tsd;
	t->stack = own_stack ? own_stack : (char *)s;
	t->stack_size = stack_size;
	if (attr && attr->_a_detach) t->detach_state = DT_DETACHED;
	*s = (struct start){ run, arg, (char *)((uintptr_t)t->stack & -16), tls, t, c11 };

	*out = t; /* before the thread runs: it may look at it */
	list_insert(t);
	if (__wasi_thread_spawn(s) < 0) {
		__tl_lock();
		list_remove(t);
		__tl_unlock();
		free(block);
		return EAGAIN;
	}
	return 0;
}

/* ---- ending a thread ---- */

static void run_handlers(struct pthread *self)
{
	while (self->cancelbuf) {
		struct __ptcb *cb = self->cancelbuf;
		self->cancelbuf = cb->__next;
		cb->__f(cb->__x);
	}
	__pthread_tsd_run_dtors();
}

/* Everything that ending takes, up to the point where only the stack is still in use. */
static void finish(struct pthread *self, void *result)
{
	self->result = result;
	run_handlers(self);
	__do_orphaned_stdio_locks();
	int state = a_cas(&self->detach_state, DT_JOINABLE, DT_EXITING);
	__tl_lock();
	list_remove(self);
	if (state == DT_DETACHED) {
		self->sysinfo = (uintptr_t)exited_detached;
		exited_detached = self;
	}
	__tl_unlock();
	if (!libc.threads_minus_1) __wake(&libc.threads_minus_1, -1, 1);
}

static __attribute__((noinline)) void thread_main(int tid, struct start *s)
{
	struct pthread *self = s->self;
	self->tid = tid;
	finish(self, s->c11 ? (void *)(intptr_t)((int (*)(void *))s->run)(s->arg) : s->run(s->arg));
}

/* Where the host enters. It must not keep anything on the stack in memory: there is none on the way in, and on the way out
 * the store of DT_EXITED gives it away. Plain locals of an optimised build are wasm locals. */
__attribute__((export_name("wasi_thread_start"))) void wasi_thread_start(int tid, struct start *s)
{
	SET_GLOBAL("__stack_pointer", s->stack_top);
	SET_GLOBAL("__tls_base", s->tls);
	volatile int *state = &s->self->detach_state;
	thread_main(tid, s);
	__atomic_store_n(state, DT_EXITED, __ATOMIC_SEQ_CST);
	__builtin_wasm_memory_atomic_notify((int *)state, -1);
}

/* The ABI has no call that ends one thread from within. The main thread waits for the others and exits; any other thread
 * lets its joiner go on, and then sleeps until the process ends, with its block kept. */
_Noreturn void __pthread_exit(void *result)
{
	struct pthread *self = __pthread_self();
	if (self->tid == MAIN_TID) {
		volatile int *others = &libc.threads_minus_1;
		run_handlers(self);
		for (int n; (n = *others);) futex_wait(others, n, 0);
		exit(0);
	}
	self->map_base = 0;
	finish(self, result);
	a_store(&self->detach_state, DT_EXITED);
	__wake(&self->detach_state, -1, 1);
	int never = 0;
	for (;;) futex_wait(&never, 0, 0);
}

int __pthread_join(pthread_t t, void **result)
{
	int state;
	while ((state = t->detach_state) != DT_EXITED) {
		if (state == DT_DETACHED) return EINVAL;
		futex_wait(&t->detach_state, state, 0);
	}
	if (result) *result = t->result;
	free(t->map_base);
	return 0;
}

int __pthread_detach(pthread_t t)
{
	if (a_cas(&t->detach_state, DT_JOINABLE, DT_DETACHED) != DT_JOINABLE) return __pthread_join(t, 0);
	return 0;
}

/* ---- small things that musl's files expect ---- */

void __do_cleanup_push(struct __ptcb *cb)
{
	struct pthread *self = __pthread_self();
	cb->__next = self->cancelbuf;
	self->cancelbuf = cb;
}

void __do_cleanup_pop(struct __ptcb *cb)
{
	__pthread_self()->cancelbuf = cb->__next;
}

_Noreturn void thrd_exit(int result) { __pthread_exit((void *)(intptr_t)result); }
void thrd_yield(void) { sched_yield(); }
int thrd_sleep(const struct timespec *time, struct timespec *left) { return nanosleep(time, left); }

weak_alias(__pthread_create, pthread_create);
weak_alias(__pthread_exit, pthread_exit);
weak_alias(__pthread_join, pthread_join);
weak_alias(__pthread_detach, pthread_detach);
weak_alias(__pthread_detach, thrd_detach);
