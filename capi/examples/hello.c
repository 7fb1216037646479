/* A module in the text format, a function of the host, and a call: the standard C API alone, but for updraft_wat2wasm.
 *
 *     cc -I capi/include hello.c -L target/release -lupdraft -o hello
 */
#include <stdio.h>
#include <stdlib.h>
#include "updraft.h"

static const char text[] =
    "(module (import \"\" \"hello\" (func $hello (param i32)))"
    "  (func (export \"run\") (param i32) (call $hello (i32.add (local.get 0) (i32.const 1)))))";

static wasm_trap_t *hello(const wasm_val_vec_t *args, wasm_val_vec_t *results) {
  (void)results;
  printf("hello from wasm: %d\n", args->data[0].of.i32);
  return NULL;
}

static void fail(const char *what) {
  const char *why = updraft_last_error();
  fprintf(stderr, "%s: %s\n", what, why ? why : "no reason known");
  exit(1);
}

int main(void) {
  wasm_engine_t *engine = wasm_engine_new();
  wasm_store_t *store = wasm_store_new(engine);

  wasm_byte_vec_t binary;
  if (!updraft_wat2wasm(text, sizeof text - 1, &binary)) fail("cannot read the text");
  wasm_module_t *module = wasm_module_new(store, &binary);
  wasm_byte_vec_delete(&binary);
  if (!module) fail("cannot load the module");

  wasm_functype_t *type = wasm_functype_new_1_0(wasm_valtype_new_i32());
  wasm_func_t *host = wasm_func_new(store, type, hello);
  wasm_functype_delete(type);

  wasm_extern_t *externs[] = {wasm_func_as_extern(host)};
  wasm_extern_vec_t imports = WASM_ARRAY_VEC(externs);
  wasm_instance_t *instance = wasm_instance_new(store, module, &imports, NULL);
  if (!instance) fail("cannot instantiate");

  wasm_extern_vec_t exports;
  wasm_instance_exports(instance, &exports);
  wasm_val_t values[] = {WASM_I32_VAL(41)};
  wasm_val_vec_t args = WASM_ARRAY_VEC(values), results = WASM_EMPTY_VEC;
  wasm_trap_t *trap = wasm_func_call(wasm_extern_as_func(exports.data[0]), &args, &results);
  if (trap) fail("trap");

  wasm_extern_vec_delete(&exports);
  wasm_instance_delete(instance);
  wasm_func_delete(host);
  wasm_module_delete(module);
  wasm_store_delete(store);
  wasm_engine_delete(engine);
  return 0;
}
