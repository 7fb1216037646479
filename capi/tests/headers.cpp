#include "updraft.h"

int main() {
  wasm_engine_t *engine = wasm_engine_new();
  wasm_store_t *store = wasm_store_new(engine);
  wasm_val_t value = WASM_I32_VAL(7);
  wasm_functype_t *type = wasm_functype_new_2_1(wasm_valtype_new_i32(), wasm_valtype_new_f64(), wasm_valtype_new_i64());
  bool right = value.of.i32 == 7 && wasm_functype_params(type)->size == 2;
  wasm_functype_delete(type);
  wasm_store_delete(store);
  wasm_engine_delete(engine);
  return right ? 0 : 1;
}
