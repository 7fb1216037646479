/* What Updraft adds to the WebAssembly C API (wasm.h): tiers, and programs with threads.
 *
 * A *process* is a WASI program with all its threads: a module that exports `_start`, with its own memory, files and thread group.
 * A trap or an exit in any thread ends all of them, inside the process of the host, which goes on. Any number of them may run at the same
 * time, and none disturbs another.
 *
 * Strings end with a NUL and are copied. Every function may be called from any thread; those on one configuration, process or result,
 * from one thread at a time, but for updraft_terminator_*, which are made for other threads.
 */
#ifndef UPDRAFT_H
#define UPDRAFT_H

#include "wasm.h"

#ifdef __cplusplus
extern "C" {
#endif

#define own

/* Kinds of values and externs that wasm.h has no names for. They occur in types only. */
enum { UPDRAFT_V128 = 4, UPDRAFT_EXNREF = 130, UPDRAFT_EXTERN_TAG = 4 };

/* Why the last function of this library that failed on this thread did so; NULL if none has. Valid until the next one fails. */
WASM_API_EXTERN const char *updraft_last_error(void);

/* From the text format to the binary one. False if the text is wrong. */
WASM_API_EXTERN bool updraft_wat2wasm(const char *text, size_t length, own wasm_byte_vec_t *out);

/* ---- Tiers ---- */

typedef uint8_t updraft_strategy_t;
enum updraft_strategy_enum {
  UPDRAFT_INTERP, /* the interpreter only */
  UPDRAFT_QUICK,  /* each function is compiled when it is first called, fast */
  UPDRAFT_FULL,   /* the same, with all optimisations */
  UPDRAFT_TIERED, /* by heat, while the program runs (default) */
};
/* False for a number that is no strategy. */
WASM_API_EXTERN bool updraft_config_set_strategy(wasm_config_t *, updraft_strategy_t);
/* Threads that compile; 0 for one to every two cores. */
WASM_API_EXTERN void updraft_config_set_compile_threads(wasm_config_t *, size_t);
/* Bytes that a memory may have at most. */
WASM_API_EXTERN void updraft_config_set_max_memory(wasm_config_t *, uint64_t);
/* Bytes of stack of each thread, for interpreted and for compiled code; from 512 KiB to 16 GiB, or false. */
WASM_API_EXTERN bool updraft_config_set_stack_size(wasm_config_t *, uint64_t);
/* False: faster loops, but not every access traps where the specification says so. */
WASM_API_EXTERN void updraft_config_set_exact_traps(wasm_config_t *, bool);
WASM_API_EXTERN void updraft_config_set_canonicalize_nan(wasm_config_t *, bool);

/* ---- How something ended ---- */

typedef uint8_t updraft_ending_t;
enum updraft_ending_enum {
  UPDRAFT_EXITED,     /* by proc_exit in any thread, or by the return of _start */
  UPDRAFT_TRAPPED,    /* by a trap in any thread */
  UPDRAFT_EXCEPTION,  /* by an exception that nothing caught */
  UPDRAFT_TERMINATED, /* by a terminator */
  UPDRAFT_TIMED_OUT,  /* by its timeout */
  UPDRAFT_FAILED,     /* it could not run: an import is missing, a limit was reached, a host function failed */
  UPDRAFT_CPU_TIME,   /* by its limit of processor time */
};
/* How a call that gave this trap ended, and the exit code if it exited. */
WASM_API_EXTERN updraft_ending_t updraft_trap_ending(const wasm_trap_t *, int32_t *exit_code);

/* ---- Stopping what runs in a store or a process ---- */

typedef struct updraft_terminator_t updraft_terminator_t;
WASM_API_EXTERN own updraft_terminator_t *updraft_store_terminator(const wasm_store_t *);
/* Ends all threads, wherever they are: their calls give a trap that ended by UPDRAFT_TERMINATED. What was stopped stays so. Returns
 * whether this was the first cause. */
WASM_API_EXTERN bool updraft_terminator_terminate(const updraft_terminator_t *);
WASM_API_EXTERN void updraft_terminator_delete(own updraft_terminator_t *);

/* ---- Processes ---- */

typedef struct updraft_process_config_t updraft_process_config_t;
typedef struct updraft_process_t updraft_process_t;

/* Nothing is given to the program: no arguments, variables, files; its output goes nowhere. */
WASM_API_EXTERN own updraft_process_config_t *updraft_process_config_new(void);
WASM_API_EXTERN void updraft_process_config_delete(own updraft_process_config_t *);
/* One more argument; the first is the program's name. */
WASM_API_EXTERN void updraft_process_config_arg(updraft_process_config_t *, const char *);
WASM_API_EXTERN void updraft_process_config_env(updraft_process_config_t *, const char *name, const char *value);
/* Standard input, output and error of the host. */
WASM_API_EXTERN void updraft_process_config_inherit_stdio(updraft_process_config_t *);
/* A directory, and its name in the program. */
WASM_API_EXTERN void updraft_process_config_dir(updraft_process_config_t *, const char *host, const char *guest,
                                                bool read_only);
/* Most threads at once besides the first (default 1024). */
WASM_API_EXTERN void updraft_process_config_max_threads(updraft_process_config_t *, uint32_t);
/* Time after which the program is ended; 0 for none. */
WASM_API_EXTERN void updraft_process_config_timeout(updraft_process_config_t *, uint64_t milliseconds);
/* Processor time of all threads together after which the program is ended; 0 for none. */
WASM_API_EXTERN void updraft_process_config_max_cpu(updraft_process_config_t *, uint64_t milliseconds);
/* Most bytes of all memories, most elements of all tables, and most instances (each thread has one) of the program together; 0 for no
 * limit. */
WASM_API_EXTERN void updraft_process_config_max_memory(updraft_process_config_t *, uint64_t bytes);
WASM_API_EXTERN void updraft_process_config_max_table_elements(updraft_process_config_t *, uint64_t);
WASM_API_EXTERN void updraft_process_config_max_instances(updraft_process_config_t *, uint64_t);
/* Bytes of stack that each thread may take of what the engine gives it (updraft_config_set_stack_size), at least 512 KiB; 0 for all. */
WASM_API_EXTERN void updraft_process_config_max_stack(updraft_process_config_t *, uint64_t bytes);
/* The program may import WAMR's pthread library. */
WASM_API_EXTERN void updraft_process_config_wamr_pthreads(updraft_process_config_t *, bool);

/* A function that the program may import. It is called by all threads of the program, at the same time; `thread` is the id of
 * the calling one, 0 for the first. Numbers only. It returns whether it succeeded: false ends the program with
 * UPDRAFT_FAILED. The finalizer runs when the process and the configuration are gone. */
typedef bool (*updraft_host_func_t)(void *env, uint32_t thread, const wasm_val_vec_t *args, wasm_val_vec_t *results);
WASM_API_EXTERN bool updraft_process_config_func(updraft_process_config_t *, const char *module, const char *name,
                                                 const wasm_functype_t *, updraft_host_func_t, void *env,
                                                 void (*finalizer)(void *));

/* NULL if the configuration is wrong: a directory that cannot be opened, for instance. */
WASM_API_EXTERN own updraft_process_t *updraft_process_new(const wasm_module_t *, const updraft_process_config_t *);
WASM_API_EXTERN void updraft_process_delete(own updraft_process_t *);
/* Other threads may use the terminator while the process runs, and after. */
WASM_API_EXTERN own updraft_terminator_t *updraft_process_terminator(const updraft_process_t *);

typedef struct updraft_result_t {
  updraft_ending_t ending;
  int32_t exit_code;      /* where it exited */
  wasm_message_t message; /* why, with the backtrace of a trap; empty where it exited. For wasm_name_delete */
} updraft_result_t;
/* Runs the program on the calling thread until its last thread has ended. A process runs once: the second time gives
 * UPDRAFT_FAILED. */
WASM_API_EXTERN void updraft_process_run(updraft_process_t *, own updraft_result_t *out);

#undef own

#ifdef __cplusplus
}
#endif

#endif
