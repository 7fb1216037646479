/* The parts of wasm.h and updraft.h that the examples leave out, and wrong uses of them. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "updraft.h"

static void check(bool holds, const char *what, int line) {
  if (holds) return;
  const char *why = updraft_last_error();
  fprintf(stderr, "line %d: %s does not hold; last error: %s\n", line, what, why ? why : "none");
  exit(1);
}
#define CHECK(condition) check(condition, #condition, __LINE__)

static int finalized;
static void finalizer(void *data) { finalized += *(int *)data; }

static wasm_engine_t *engine;
static wasm_store_t *store;

static wasm_module_t *module_of(const char *text) {
  wasm_byte_vec_t binary;
  CHECK(updraft_wat2wasm(text, strlen(text), &binary));
  CHECK(wasm_module_validate(store, &binary));
  wasm_module_t *module = wasm_module_new(store, &binary);
  wasm_byte_vec_delete(&binary);
  CHECK(module != NULL);
  return module;
}

static bool named(const wasm_name_t *name, const char *text) {
  return name->size == strlen(text) && memcmp(name->data, text, name->size) == 0;
}

static bool message_is(const wasm_trap_t *trap, const char *text) {
  wasm_message_t message;
  wasm_trap_message(trap, &message);
  bool same = message.size == strlen(text) + 1 && strcmp(message.data, text) == 0;
  if (!same) fprintf(stderr, "the message is: %s\n", message.data);
  wasm_name_delete(&message);
  return same;
}

/* Calls an export with numbers. */
static wasm_trap_t *call(const wasm_extern_vec_t *exports, size_t index, wasm_val_t *args, size_t count,
                         wasm_val_t *result) {
  wasm_val_vec_t arg_vec = {count, args}, results = {result ? 1 : 0, result};
  return wasm_func_call(wasm_extern_as_func_const(exports->data[index]), &arg_vec, &results);
}

static void vectors_and_types(void) {
  wasm_byte_vec_t empty, bytes, copy;
  wasm_byte_vec_new_empty(&empty);
  CHECK(empty.size == 0);
  wasm_byte_vec_new(&bytes, 3, "abc");
  wasm_byte_vec_copy(&copy, &bytes);
  CHECK(copy.size == 3 && copy.data != bytes.data && memcmp(copy.data, "abc", 3) == 0);
  wasm_byte_vec_delete(&bytes);
  wasm_byte_vec_delete(&copy);
  wasm_byte_vec_delete(&empty);

  wasm_functype_t *type = wasm_functype_new_3_2(wasm_valtype_new_i32(), wasm_valtype_new_f32(), wasm_valtype_new_funcref(),
                                                wasm_valtype_new_i64(), wasm_valtype_new_externref());
  wasm_functype_t *same = wasm_functype_copy(type);
  wasm_functype_delete(type);
  CHECK(wasm_functype_params(same)->size == 3 && wasm_functype_results(same)->size == 2);
  CHECK(wasm_valtype_kind(wasm_functype_params(same)->data[2]) == WASM_FUNCREF);
  CHECK(wasm_valtype_is_ref(wasm_functype_results(same)->data[1]) && wasm_valtype_is_num(wasm_functype_results(same)->data[0]));
  wasm_externtype_t *ext = wasm_functype_as_externtype(same);
  CHECK(wasm_externtype_kind(ext) == WASM_EXTERN_FUNC);
  CHECK(wasm_externtype_as_functype(ext) == same && wasm_externtype_as_memorytype(ext) == NULL);
  wasm_functype_vec_t types;
  wasm_functype_t *list[] = {same};
  wasm_functype_vec_new(&types, 1, list);
  wasm_functype_vec_delete(&types);

  wasm_limits_t limits = {1, wasm_limits_max_default};
  wasm_importtype_t *import;
  wasm_name_t module, name;
  wasm_name_new_from_string(&module, "m");
  wasm_name_new_from_string(&name, "n");
  import = wasm_importtype_new(&module, &name, wasm_memorytype_as_externtype(wasm_memorytype_new(&limits)));
  wasm_importtype_t *second = wasm_importtype_copy(import);
  wasm_importtype_delete(import);
  CHECK(named(wasm_importtype_module(second), "m") && named(wasm_importtype_name(second), "n"));
  CHECK(wasm_memorytype_limits(wasm_externtype_as_memorytype_const(wasm_importtype_type(second)))->min == 1);
  wasm_importtype_delete(second);
}

static void modules(void) {
  wasm_module_t *module = module_of(
      "(module (import \"a\" \"f\" (func (param i32))) (import \"a\" \"g\" (global i64))"
      " (memory (export \"m\") 2 5) (table (export \"t\") 3 funcref) (global (export \"h\") (mut f64) (f64.const 1))"
      " (func (export \"run\") (result v128) (v128.const i64x2 0 0)))");
  wasm_importtype_vec_t imports;
  wasm_exporttype_vec_t exports;
  wasm_module_imports(module, &imports);
  wasm_module_exports(module, &exports);
  CHECK(imports.size == 2 && exports.size == 4);
  CHECK(named(wasm_importtype_module(imports.data[0]), "a") && named(wasm_importtype_name(imports.data[1]), "g"));
  const wasm_globaltype_t *global = wasm_externtype_as_globaltype_const(wasm_importtype_type(imports.data[1]));
  CHECK(wasm_globaltype_mutability(global) == WASM_CONST && wasm_valtype_kind(wasm_globaltype_content(global)) == WASM_I64);
  const wasm_limits_t *limits =
      wasm_memorytype_limits(wasm_externtype_as_memorytype_const(wasm_exporttype_type(exports.data[0])));
  CHECK(limits->min == 2 && limits->max == 5);
  const wasm_tabletype_t *table = wasm_externtype_as_tabletype_const(wasm_exporttype_type(exports.data[1]));
  CHECK(wasm_tabletype_limits(table)->max == wasm_limits_max_default);
  CHECK(wasm_valtype_kind(wasm_tabletype_element(table)) == WASM_FUNCREF);
  const wasm_functype_t *func = wasm_externtype_as_functype_const(wasm_exporttype_type(exports.data[3]));
  CHECK(wasm_valtype_kind(wasm_functype_results(func)->data[0]) == UPDRAFT_V128);
  wasm_importtype_vec_delete(&imports);
  wasm_exporttype_vec_delete(&exports);

  /* Through bytes and through another store. */
  wasm_byte_vec_t bytes;
  wasm_module_serialize(module, &bytes);
  wasm_module_t *again = wasm_module_deserialize(store, &bytes);
  wasm_byte_vec_delete(&bytes);
  CHECK(again != NULL && !wasm_module_same(module, again));
  wasm_shared_module_t *shared = wasm_module_share(module);
  wasm_store_t *other = wasm_store_new(engine);
  wasm_module_t *there = wasm_module_obtain(other, shared), *copy = wasm_module_copy(there);
  CHECK(wasm_module_same(module, there) && wasm_module_same(copy, there));
  wasm_shared_module_delete(shared);
  /* The store goes on while something of it is left. */
  wasm_store_delete(other);
  wasm_module_delete(there);
  wasm_module_exports(copy, &exports);
  CHECK(exports.size == 4);
  wasm_exporttype_vec_delete(&exports);
  wasm_module_delete(copy);
  wasm_module_delete(again);

  /* Imports are missing, or of another type. */
  wasm_trap_t *trap = NULL;
  wasm_extern_vec_t none = WASM_EMPTY_VEC;
  CHECK(wasm_instance_new(store, module, &none, &trap) == NULL);
  CHECK(message_is(trap, "the module has 2 imports, but 0 externs were given"));
  CHECK(updraft_trap_ending(trap, NULL) == UPDRAFT_FAILED);
  wasm_trap_delete(trap);
  wasm_limits_t one = {1, 1};
  wasm_memorytype_t *memory_type = wasm_memorytype_new(&one);
  wasm_memory_t *memory = wasm_memory_new(store, memory_type);
  wasm_memorytype_delete(memory_type);
  wasm_extern_t *wrong[] = {wasm_memory_as_extern(memory), NULL};
  wasm_extern_vec_t wrong_imports = WASM_ARRAY_VEC(wrong);
  CHECK(wasm_instance_new(store, module, &wrong_imports, NULL) == NULL);
  wrong[1] = wrong[0];
  CHECK(wasm_instance_new(store, module, &wrong_imports, &trap) == NULL && trap != NULL);
  wasm_trap_delete(trap);
  wasm_memory_delete(memory);
  wasm_module_delete(module);

  /* Not modules. */
  wasm_byte_vec_t garbage;
  wasm_byte_vec_new(&garbage, 8, "\0asm\1\0\0\1");
  CHECK(!wasm_module_validate(store, &garbage) && wasm_module_new(store, &garbage) == NULL && updraft_last_error());
  wasm_byte_vec_delete(&garbage);
  wasm_byte_vec_new(&garbage, 8, "(module)");
  CHECK(wasm_module_new(store, &garbage) == NULL);
  wasm_byte_vec_delete(&garbage);
  CHECK(!updraft_wat2wasm("(modul)", 7, &garbage));
}

static wasm_trap_t *swap(const wasm_val_vec_t *args, wasm_val_vec_t *results) {
  wasm_val_copy(&results->data[0], &args->data[1]);
  wasm_val_copy(&results->data[1], &args->data[0]);
  return NULL;
}

static wasm_trap_t *wrong_result(const wasm_val_vec_t *args, wasm_val_vec_t *results) {
  (void)args;
  wasm_val_t value = WASM_F64_VAL(1);
  results->data[0] = value;
  return NULL;
}

static void references(void) {
  wasm_module_t *module = module_of(
      "(module (import \"\" \"swap\" (func $swap (param externref funcref) (result funcref externref)))"
      " (import \"\" \"wrong\" (func $wrong (result i32)))"
      " (table (export \"t\") 2 4 funcref) (global (export \"g\") (mut externref) (ref.null extern))"
      " (func (export \"swap\") (param externref funcref) (result externref)"
      "   (call $swap (local.get 0) (local.get 1)) (global.set 0) (drop) (global.get 0))"
      " (func (export \"wrong\") (result i32) (call $wrong)))");
  wasm_functype_t *type = wasm_functype_new_2_2(wasm_valtype_new_externref(), wasm_valtype_new_funcref(),
                                                wasm_valtype_new_funcref(), wasm_valtype_new_externref());
  wasm_func_t *host = wasm_func_new(store, type, swap);
  wasm_functype_delete(type);
  type = wasm_functype_new_0_1(wasm_valtype_new_i32());
  wasm_func_t *wrong = wasm_func_new(store, type, wrong_result);
  wasm_functype_delete(type);
  CHECK(wasm_func_param_arity(host) == 2 && wasm_func_result_arity(host) == 2);
  wasm_extern_t *externs[] = {wasm_func_as_extern(host), wasm_func_as_extern(wrong)};
  wasm_extern_vec_t imports = WASM_ARRAY_VEC(externs), exports;
  wasm_instance_t *instance = wasm_instance_new(store, module, &imports, NULL);
  CHECK(instance != NULL);
  wasm_instance_exports(instance, &exports);
  CHECK(exports.size == 4 && wasm_extern_kind(exports.data[0]) == WASM_EXTERN_TABLE);

  static int seven = 7;
  wasm_foreign_t *foreign = wasm_foreign_new(store);
  wasm_foreign_set_host_info_with_finalizer(foreign, &seven, finalizer);
  wasm_val_t args[] = {WASM_REF_VAL(wasm_foreign_as_ref(foreign)), {.kind = WASM_FUNCREF, .of = {.ref = wasm_func_as_ref(host)}}};
  wasm_val_t result = WASM_INIT_VAL;
  CHECK(call(&exports, 2, args, 2, &result) == NULL);
  CHECK(result.kind == WASM_EXTERNREF && wasm_ref_same(result.of.ref, wasm_foreign_as_ref(foreign)));
  CHECK(wasm_ref_as_func(result.of.ref) == NULL && wasm_foreign_get_host_info(wasm_ref_as_foreign(result.of.ref)) == &seven);
  wasm_val_delete(&result);
  /* Null references, of whatever kind. */
  wasm_val_t nulls[] = {WASM_INIT_VAL, WASM_INIT_VAL};
  CHECK(call(&exports, 2, nulls, 2, &result) == NULL && result.of.ref == NULL);
  /* What cannot be a value. */
  wasm_val_t modules[] = {WASM_REF_VAL(wasm_module_as_ref(module)), WASM_INIT_VAL};
  wasm_trap_t *trap = call(&exports, 2, modules, 2, &result);
  CHECK(trap != NULL && message_is(trap, "only functions and foreign objects can be values"));
  wasm_trap_delete(trap);
  trap = call(&exports, 2, args, 1, &result);
  CHECK(trap != NULL && updraft_trap_ending(trap, NULL) == UPDRAFT_FAILED);
  wasm_trap_delete(trap);
  trap = call(&exports, 2, args, 2, NULL);
  CHECK(trap != NULL);
  wasm_trap_delete(trap);
  trap = call(&exports, 3, NULL, 0, &result);
  CHECK(trap != NULL && updraft_trap_ending(trap, NULL) == UPDRAFT_FAILED);
  wasm_trap_delete(trap);

  wasm_table_t *table = wasm_extern_as_table(exports.data[0]);
  CHECK(wasm_table_size(table) == 2 && wasm_table_get(table, 0) == NULL);
  CHECK(wasm_table_set(table, 1, wasm_func_as_ref(host)) && !wasm_table_set(table, 2, NULL));
  CHECK(!wasm_table_set(table, 1, wasm_foreign_as_ref(foreign)));
  CHECK(wasm_table_grow(table, 2, wasm_func_as_ref(wrong)) && !wasm_table_grow(table, 1, NULL));
  wasm_ref_t *element = wasm_table_get(table, 3);
  CHECK(wasm_ref_same(element, wasm_func_as_ref(wrong)) && !wasm_ref_same(element, wasm_func_as_ref(host)));
  wasm_ref_delete(element);

  wasm_global_t *global = wasm_extern_as_global(exports.data[1]);
  wasm_global_set(global, &args[0]);
  wasm_global_get(global, &result);
  CHECK(wasm_ref_same(result.of.ref, wasm_foreign_as_ref(foreign)));
  wasm_val_delete(&result);

  wasm_extern_vec_delete(&exports);
  wasm_instance_delete(instance);
  wasm_func_delete(host);
  wasm_func_delete(wrong);
  wasm_foreign_delete(foreign);
  wasm_module_delete(module);
}

static void items(void) {
  wasm_val_t value = WASM_I64_VAL(5), got;
  wasm_globaltype_t *global_type = wasm_globaltype_new(wasm_valtype_new_i64(), WASM_VAR);
  wasm_global_t *global = wasm_global_new(store, global_type, &value), *copy = wasm_global_copy(global);
  wasm_globaltype_delete(global_type);
  value.of.i64 = -6;
  wasm_global_set(copy, &value);
  wasm_global_get(global, &got);
  CHECK(got.kind == WASM_I64 && got.of.i64 == -6 && wasm_global_same(global, copy));
  wasm_val_t other = WASM_F32_VAL(1);
  wasm_global_set(global, &other); /* does nothing */
  wasm_global_get(global, &got);
  CHECK(got.of.i64 == -6);
  global_type = wasm_global_type(global);
  CHECK(wasm_globaltype_mutability(global_type) == WASM_VAR);
  wasm_globaltype_delete(global_type);
  int info = 1;
  wasm_global_set_host_info(global, &info);
  CHECK(wasm_global_get_host_info(copy) == &info);
  wasm_global_delete(global);
  wasm_global_delete(copy);

  wasm_limits_t limits = {1, 3}, too_large = {70000, 80000};
  wasm_memorytype_t *memory_type = wasm_memorytype_new(&limits);
  wasm_memory_t *memory = wasm_memory_new(store, memory_type);
  wasm_memorytype_delete(memory_type);
  wasm_memory_data(memory)[65535] = 'x';
  CHECK(wasm_memory_size(memory) == 1 && wasm_memory_data_size(memory) == MEMORY_PAGE_SIZE);
  CHECK(wasm_memory_grow(memory, 2) && !wasm_memory_grow(memory, 1) && wasm_memory_size(memory) == 3);
  CHECK(wasm_memory_data(memory)[65535] == 'x');
  memory_type = wasm_memory_type(memory);
  CHECK(wasm_memorytype_limits(memory_type)->max == 3);
  wasm_memorytype_delete(memory_type);
  CHECK(wasm_extern_as_func(wasm_memory_as_extern(memory)) == NULL);
  wasm_memory_delete(memory);
  memory_type = wasm_memorytype_new(&too_large);
  CHECK(wasm_memory_new(store, memory_type) == NULL);
  wasm_memorytype_delete(memory_type);

  wasm_tabletype_t *table_type = wasm_tabletype_new(wasm_valtype_new_externref(), &limits);
  wasm_foreign_t *foreign = wasm_foreign_new(store);
  wasm_table_t *table = wasm_table_new(store, table_type, wasm_foreign_as_ref(foreign));
  wasm_tabletype_delete(table_type);
  wasm_ref_t *element = wasm_table_get(table, 0);
  CHECK(wasm_ref_as_foreign(element) != NULL && wasm_ref_same(element, wasm_foreign_as_ref(foreign)));
  wasm_ref_delete(element);
  wasm_externtype_t *ext = wasm_extern_type(wasm_table_as_extern(table));
  CHECK(wasm_externtype_kind(ext) == WASM_EXTERN_TABLE);
  wasm_externtype_delete(ext);
  wasm_table_delete(table);
  wasm_foreign_delete(foreign);
}

static void traps(void) {
  wasm_module_t *module = module_of(
      "(module (memory 1) (func $inner (export \"inner\") (param i32) (result i32) (i32.load (local.get 0)))"
      " (func (export \"outer\") (param i32) (result i32) (call $inner (local.get 0)))"
      " (func (export \"vector\") (param v128)) (tag (export \"tag\")) (func (export \"throw\") (throw 0))"
      " (func (export \"deep\") (call 4)) (func (export \"loop\") (loop (br 0))))");
  wasm_extern_vec_t none = WASM_EMPTY_VEC, exports;
  wasm_instance_t *instance = wasm_instance_new(store, module, &none, NULL), *copy = wasm_instance_copy(instance);
  CHECK(wasm_instance_same(instance, copy));
  wasm_instance_delete(instance);
  wasm_instance_exports(copy, &exports);
  wasm_val_t address = WASM_I32_VAL(-8), result = WASM_INIT_VAL;
  wasm_trap_t *trap = call(&exports, 1, &address, 1, &result), *same = wasm_trap_copy(trap);
  CHECK(message_is(trap, "out of bounds memory access") && updraft_trap_ending(trap, NULL) == UPDRAFT_TRAPPED);
  wasm_trap_delete(trap);
  wasm_frame_vec_t frames, frames_copy;
  wasm_trap_trace(same, &frames);
  wasm_frame_t *origin = wasm_trap_origin(same);
  CHECK(frames.size == 2 && wasm_frame_func_index(frames.data[0]) == 0 && wasm_frame_func_index(frames.data[1]) == 1);
  CHECK(wasm_frame_func_offset(origin) < 16 && wasm_frame_module_offset(origin) > wasm_frame_func_offset(origin));
  CHECK(wasm_frame_instance(origin) == NULL);
  wasm_frame_vec_copy(&frames_copy, &frames);
  wasm_frame_vec_delete(&frames);
  CHECK(wasm_frame_func_index(frames_copy.data[1]) == 1);
  wasm_frame_vec_delete(&frames_copy);
  wasm_frame_delete(origin);
  wasm_trap_delete(same);

  wasm_val_t vector = WASM_I64_VAL(0);
  trap = call(&exports, 2, &vector, 1, NULL);
  CHECK(message_is(trap, "values of types v128 and exnref have no form in C"));
  wasm_trap_delete(trap);
  CHECK(wasm_extern_kind(exports.data[3]) == UPDRAFT_EXTERN_TAG && wasm_extern_as_func(exports.data[3]) == NULL);
  trap = call(&exports, 4, NULL, 0, NULL);
  CHECK(updraft_trap_ending(trap, NULL) == UPDRAFT_EXCEPTION);
  wasm_trap_delete(trap);
  trap = call(&exports, 5, NULL, 0, NULL);
  CHECK(message_is(trap, "call stack exhausted"));
  wasm_trap_delete(trap);
  wasm_val_t good = WASM_I32_VAL(0);
  CHECK(call(&exports, 0, &good, 1, &result) == NULL && result.of.i32 == 0);

  /* What is stopped stays stopped. */
  updraft_terminator_t *terminator = updraft_store_terminator(store);
  CHECK(updraft_terminator_terminate(terminator) && !updraft_terminator_terminate(terminator));
  updraft_terminator_delete(terminator);
  trap = call(&exports, 6, NULL, 0, NULL);
  CHECK(updraft_trap_ending(trap, NULL) == UPDRAFT_TERMINATED);
  wasm_trap_delete(trap);

  /* An object of another store: an error, and no crash. */
  wasm_store_t *other = wasm_store_new(engine);
  wasm_instance_t *there = wasm_instance_new(other, module, &none, NULL);
  CHECK(there != NULL); /* modules may go anywhere */
  wasm_instance_delete(there);
  wasm_module_t *imports_memory = module_of("(module (import \"\" \"\" (func)))");
  wasm_extern_vec_t foreign_imports = {1, &exports.data[4]};
  CHECK(wasm_instance_new(other, imports_memory, &foreign_imports, &trap) == NULL && trap != NULL);
  wasm_trap_delete(trap);
  wasm_module_delete(imports_memory);
  wasm_store_delete(other);
  wasm_extern_vec_delete(&exports);
  wasm_instance_delete(copy);
  wasm_module_delete(module);
}

static wasm_trap_t *nothing(void *env, const wasm_val_vec_t *args, wasm_val_vec_t *results) {
  (void)env;
  (void)args;
  (void)results;
  return NULL;
}

static void processes(void) {
  wasm_module_t *module = module_of(
      "(module (import \"wasi_snapshot_preview1\" \"proc_exit\" (func $exit (param i32)))"
      " (memory (export \"memory\") 1) (func (export \"_start\") (call $exit (i32.const 42))))");
  updraft_process_config_t *config = updraft_process_config_new();
  updraft_process_config_arg(config, "name");
  updraft_process_config_env(config, "A", "b");
  updraft_process_config_max_threads(config, 3);
  updraft_process_config_wamr_pthreads(config, true);
  updraft_process_t *process = updraft_process_new(module, config);
  updraft_result_t result;
  updraft_process_run(process, &result);
  CHECK(result.ending == UPDRAFT_EXITED && result.exit_code == 42 && result.message.size == 0);
  wasm_name_delete(&result.message);
  updraft_process_delete(process);
  /* Without a configuration. */
  process = updraft_process_new(module, NULL);
  updraft_process_run(process, &result);
  CHECK(result.exit_code == 42);
  updraft_process_delete(process);
  updraft_process_config_dir(config, "/no/such/directory", "/", true);
  CHECK(updraft_process_new(module, config) == NULL && updraft_last_error());
  wasm_functype_t *type = wasm_functype_new_1_0(wasm_valtype_new_externref());
  CHECK(!updraft_process_config_func(config, "m", "n", type, NULL, NULL, NULL));
  wasm_functype_delete(type);
  updraft_process_config_delete(config);
  wasm_module_delete(module);

  /* Limits. */
  module = module_of("(module (func (export \"_start\") (loop (br 0))))");
  config = updraft_process_config_new();
  updraft_process_config_max_cpu(config, 20);
  process = updraft_process_new(module, config);
  updraft_process_run(process, &result);
  CHECK(result.ending == UPDRAFT_CPU_TIME);
  wasm_name_delete(&result.message);
  updraft_process_delete(process);
  wasm_module_delete(module);
  module = module_of(
      "(module (import \"wasi_snapshot_preview1\" \"proc_exit\" (func $exit (param i32)))"
      " (memory (export \"memory\") 1) (table 3 funcref)"
      " (func (export \"_start\") (call $exit (i32.add (memory.grow (i32.const 2)) (table.grow (ref.null func) (i32.const 2))))))");
  updraft_process_config_max_cpu(config, 0);
  updraft_process_config_max_memory(config, 2 << 16);
  updraft_process_config_max_table_elements(config, 4);
  updraft_process_config_max_instances(config, 1);
  updraft_process_config_max_stack(config, 1 << 20);
  process = updraft_process_new(module, config);
  updraft_process_run(process, &result);
  CHECK(result.ending == UPDRAFT_EXITED && result.exit_code == -2);
  wasm_name_delete(&result.message);
  updraft_process_delete(process);
  updraft_process_config_delete(config);
  wasm_module_delete(module);

  module = module_of("(module (import \"no\" \"such\" (func)) (func (export \"_start\")))");
  process = updraft_process_new(module, NULL);
  updraft_process_run(process, &result);
  CHECK(result.ending == UPDRAFT_FAILED && strstr(result.message.data, "such"));
  wasm_name_delete(&result.message);
  updraft_process_delete(process);
  wasm_module_delete(module);
}

static void configurations(void) {
  wasm_config_t *config = wasm_config_new();
  for (updraft_strategy_t strategy = UPDRAFT_INTERP; strategy <= UPDRAFT_TIERED; strategy++)
    CHECK(updraft_config_set_strategy(config, strategy));
  CHECK(!updraft_config_set_strategy(config, 9) && !updraft_config_set_stack_size(config, 1000));
  CHECK(updraft_config_set_stack_size(config, 1 << 20));
  updraft_config_set_compile_threads(config, 1);
  updraft_config_set_exact_traps(config, true);
  updraft_config_set_canonicalize_nan(config, true);
  updraft_config_set_max_memory(config, 1 << 16);
  engine = wasm_engine_new_with_config(config);
  store = wasm_store_new(engine);
  wasm_limits_t limits = {2, 2};
  wasm_memorytype_t *type = wasm_memorytype_new(&limits);
  CHECK(wasm_memory_new(store, type) == NULL && strstr(updraft_last_error(), "limit"));
  wasm_memorytype_delete(type);
  wasm_store_delete(store);
  wasm_engine_delete(engine);
  wasm_config_delete(wasm_config_new());
  wasm_engine_delete(wasm_engine_new_with_config(NULL));
}

int main(void) {
  vectors_and_types();
  configurations();
  engine = wasm_engine_new();
  store = wasm_store_new(engine);
  modules();
  references();
  items();
  int thirty = 30;
  wasm_functype_t *type = wasm_functype_new_0_0();
  wasm_func_t *func = wasm_func_new_with_env(store, type, nothing, &thirty, finalizer);
  wasm_functype_delete(type);
  wasm_val_vec_t none = WASM_EMPTY_VEC;
  CHECK(wasm_func_call(func, &none, &none) == NULL);
  wasm_func_delete(func);
  processes();
  traps();
  /* The foreign object's finalizer and the function's: once each, when the store is gone. */
  CHECK(finalized == 0);
  wasm_store_delete(store);
  wasm_engine_delete(engine);
  CHECK(finalized == 37);
  puts("ok");
  return 0;
}
