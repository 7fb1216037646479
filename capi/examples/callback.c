/* Calls both ways: a callback with data of its own, which reads the memory of its caller, calls wasm again, and traps; and what a
 * trap tells. */
#include <stdio.h>
#include <stdlib.h>
#include "updraft.h"

static const char text[] =
    "(module $program"
    "  (import \"host\" \"log\" (func $log (param i32 i32) (result i32)))"
    "  (memory (export \"memory\") 1)"
    "  (data (i32.const 16) \"a text of the guest\")"
    "  (func $double (export \"double\") (param i32) (result i32) (i32.mul (local.get 0) (i32.const 2)))"
    "  (func $run (export \"run\") (param i32) (result i32) (call $log (i32.const 16) (local.get 0))))";

struct host {
  wasm_store_t *store;
  wasm_memory_t *memory;
  wasm_func_t *twice;
  int calls;
};

static wasm_trap_t *log_text(void *env, const wasm_val_vec_t *args, wasm_val_vec_t *results) {
  struct host *host = env;
  uint32_t at = (uint32_t)args->data[0].of.i32, length = (uint32_t)args->data[1].of.i32;
  host->calls++;
  if ((uint64_t)at + length > wasm_memory_data_size(host->memory)) {
    wasm_message_t message;
    wasm_name_new_from_string_nt(&message, "the text is not within the memory");
    wasm_trap_t *trap = wasm_trap_new(host->store, &message);
    wasm_name_delete(&message);
    return trap;
  }
  printf("log: %.*s\n", (int)length, wasm_memory_data(host->memory) + at);
  wasm_val_t value = WASM_I32_VAL((int32_t)length);
  wasm_val_vec_t again = {1, &value};
  return wasm_func_call(host->twice, &again, results);
}

static void call(wasm_func_t *run, int32_t length) {
  wasm_val_t value = WASM_I32_VAL(length), result = WASM_INIT_VAL;
  wasm_val_vec_t args = {1, &value}, results = {1, &result};
  wasm_trap_t *trap = wasm_func_call(run, &args, &results);
  if (!trap) {
    printf("result: %d\n", result.of.i32);
    return;
  }
  wasm_message_t message;
  wasm_trap_message(trap, &message);
  printf("trap: %s\n", message.data);
  wasm_name_delete(&message);
  wasm_trap_delete(trap);
}

int main(void) {
  wasm_config_t *config = wasm_config_new();
  updraft_config_set_strategy(config, UPDRAFT_INTERP);
  wasm_engine_t *engine = wasm_engine_new_with_config(config);
  wasm_store_t *store = wasm_store_new(engine);
  wasm_byte_vec_t binary;
  if (!updraft_wat2wasm(text, sizeof text - 1, &binary)) return 1;
  wasm_module_t *module = wasm_module_new(store, &binary);
  wasm_byte_vec_delete(&binary);
  if (!module) return 1;

  struct host host = {store, NULL, NULL, 0};
  wasm_functype_t *type = wasm_functype_new_2_1(wasm_valtype_new_i32(), wasm_valtype_new_i32(), wasm_valtype_new_i32());
  wasm_func_t *log = wasm_func_new_with_env(store, type, log_text, &host, NULL);
  wasm_functype_delete(type);
  wasm_extern_t *externs[] = {wasm_func_as_extern(log)};
  wasm_extern_vec_t imports = WASM_ARRAY_VEC(externs), exports;
  wasm_instance_t *instance = wasm_instance_new(store, module, &imports, NULL);
  if (!instance) return 1;
  wasm_instance_exports(instance, &exports);
  host.memory = wasm_extern_as_memory(exports.data[0]);
  host.twice = wasm_extern_as_func(exports.data[1]);

  call(wasm_extern_as_func(exports.data[2]), 6);
  call(wasm_extern_as_func(exports.data[2]), 70000);
  printf("calls: %d\n", host.calls);

  wasm_extern_vec_delete(&exports);
  wasm_instance_delete(instance);
  wasm_func_delete(log);
  wasm_module_delete(module);
  wasm_store_delete(store);
  wasm_engine_delete(engine);
  return 0;
}
