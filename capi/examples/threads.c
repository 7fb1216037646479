/* Programs with threads, as processes: one runs to its end, one traps in a thread, and one is ended from outside while
 * another goes on beside it.
 *
 *     threads FILE ARGUMENT...   runs a WASI program and tells how it ended
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include "updraft.h"

static const char *const endings[] = {"exited", "trapped", "exception", "terminated", "timed out", "failed"};

static wasm_byte_vec_t read_file(const char *path) {
  wasm_byte_vec_t bytes = WASM_EMPTY_VEC;
  FILE *file = fopen(path, "rb");
  if (!file) {
    perror(path);
    exit(1);
  }
  fseek(file, 0, SEEK_END);
  wasm_byte_vec_new_uninitialized(&bytes, (size_t)ftell(file));
  rewind(file);
  if (fread(bytes.data, 1, bytes.size, file) != bytes.size) exit(1);
  fclose(file);
  return bytes;
}

static bool seen(void *env, uint32_t thread, const wasm_val_vec_t *args, wasm_val_vec_t *results) {
  /* Called by several threads at once. */
  __atomic_fetch_add((int *)env, args->data[0].of.i32, __ATOMIC_SEQ_CST);
  results->data[0].kind = WASM_I32;
  results->data[0].of.i32 = (int32_t)thread;
  return true;
}

static wasm_module_t *module_of_text(wasm_store_t *store, const char *text) {
  wasm_byte_vec_t binary;
  if (!updraft_wat2wasm(text, strlen(text), &binary)) {
    fprintf(stderr, "%s\n", updraft_last_error());
    exit(1);
  }
  wasm_module_t *module = wasm_module_new(store, &binary);
  wasm_byte_vec_delete(&binary);
  return module;
}

static void *run(void *process) {
  updraft_result_t *result = malloc(sizeof *result);
  updraft_process_run(process, result);
  return result;
}

static void tell(const char *name, updraft_result_t *result) {
  /* A trap's message goes on with its backtrace. */
  size_t line = result->message.size ? strcspn(result->message.data, "\n") : 0;
  printf("%s: %s, code %d%s%.*s\n", name, endings[result->ending], result->exit_code, line ? ", " : "", (int)line,
         result->message.data);
  wasm_name_delete(&result->message);
}

/* Its threads call `seen`, and then the argument of the first decides: they wait for ever, or one of them traps. */
#define PROGRAM(end)                                                                                             \
  "(module (import \"env\" \"memory\" (memory 1 1 shared))"                                                      \
  "  (import \"wasi\" \"thread-spawn\" (func $spawn (param i32) (result i32)))"                                  \
  "  (import \"host\" \"seen\" (func $seen (param i32) (result i32)))"                                           \
  "  (func $wait (drop (memory.atomic.wait32 (i32.const 0) (i32.const 0) (i64.const -1))))"                      \
  "  (func (export \"wasi_thread_start\") (param i32 i32)"                                                       \
  "    (if (i32.ne (call $seen (i32.const 1)) (local.get 0)) (then (unreachable)))" end ")"                      \
  "  (func (export \"_start\") (drop (call $spawn (i32.const 0))) (drop (call $spawn (i32.const 0))) (call $wait)))"

int main(int argc, char **argv) {
  wasm_engine_t *engine = wasm_engine_new();
  wasm_store_t *store = wasm_store_new(engine);
  updraft_result_t result;

  if (argc > 1) {
    wasm_byte_vec_t bytes = read_file(argv[1]);
    wasm_module_t *module = wasm_module_new(store, &bytes);
    wasm_byte_vec_delete(&bytes);
    updraft_process_config_t *config = updraft_process_config_new();
    for (int i = 1; i < argc; i++) updraft_process_config_arg(config, argv[i]);
    updraft_process_config_inherit_stdio(config);
    updraft_process_t *process = module ? updraft_process_new(module, config) : NULL;
    if (!process) {
      fprintf(stderr, "%s: %s\n", argv[1], updraft_last_error());
      return 1;
    }
    updraft_process_run(process, &result);
    fflush(stdout);
    tell("program", &result);
    updraft_process_delete(process);
    updraft_process_config_delete(config);
    wasm_module_delete(module);
  }

  int count = 0;
  wasm_functype_t *type = wasm_functype_new_1_1(wasm_valtype_new_i32(), wasm_valtype_new_i32());
  updraft_process_config_t *config = updraft_process_config_new();
  updraft_process_config_func(config, "host", "seen", type, seen, &count, NULL);
  wasm_functype_delete(type);

  wasm_module_t *traps = module_of_text(store, PROGRAM("(unreachable)"));
  wasm_module_t *waits = module_of_text(store, PROGRAM("(call $wait)"));
  updraft_process_t *waiting = updraft_process_new(waits, config), *trapping = updraft_process_new(traps, config);
  updraft_terminator_t *terminator = updraft_process_terminator(waiting);
  pthread_t thread;
  pthread_create(&thread, NULL, run, waiting);

  updraft_process_run(trapping, &result);
  tell("traps", &result);
  updraft_process_run(trapping, &result);
  tell("again", &result);

  /* The other one is not disturbed: its threads come to where they wait. */
  while (__atomic_load_n(&count, __ATOMIC_SEQ_CST) < 3) sched_yield();
  printf("first to end it: %d\n", updraft_terminator_terminate(terminator));
  updraft_result_t *other;
  pthread_join(thread, (void **)&other);
  tell("waits", other);
  free(other);

  updraft_process_config_timeout(config, 20);
  updraft_process_t *late = updraft_process_new(waits, config);
  updraft_process_run(late, &result);
  tell("late", &result);

  updraft_terminator_delete(terminator);
  updraft_process_delete(late);
  updraft_process_delete(waiting);
  updraft_process_delete(trapping);
  updraft_process_config_delete(config);
  wasm_module_delete(waits);
  wasm_module_delete(traps);
  wasm_store_delete(store);
  wasm_engine_delete(engine);
  return 0;
}
