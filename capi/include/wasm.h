/* The WebAssembly C API for Updraft.
 *
 * The interface is the standard one (github.com/WebAssembly/wasm-c-api): names, types and ownership are the same, so that
 * programs written for it compile unchanged. What is Updraft's own is in updraft.h. Link with -lupdraft.
 *
 * Ownership. `own` marks what is handed over: an `own` result or `out` parameter belongs to the caller, who deletes it with the
 * function of its type, and an `own` parameter belongs to the callee. An own vector owns its elements. Functions that end in `_as_...`
 * lend: what they return lives as long as what they were given. Objects keep their store alive, and stores their engine.
 *
 * Threads. Engines and shared modules may be used by all threads at once. A store and all objects of it are used by one
 * thread at a time. Programs with threads of their own are run as processes: see updraft.h.
 *
 * What is not supported, and how it fails:
 *  - values of types that this interface has no kind for (v128, exnref): a function that takes or returns them gives a trap when it is
 *    called, a host function of them is NULL, and a global of them reads as a null reference. Their types are shown as UPDRAFT_V128 and
 *    UPDRAFT_EXNREF.
 *  - references to anything but functions and foreign objects as values: a call with one gives a trap.
 *  - tags: an import or export of one has the kind UPDRAFT_EXTERN_TAG, and an extern that no other function takes.
 *  - memories and tables of 64-bit limits: limits past 2^32 - 1 are cut off.
 *  - wasm_frame_instance: always NULL.
 *  - host info belongs to a handle and its copies; another handle to the same function, memory or so on, as
 *    wasm_instance_exports makes, has its own. Foreign objects keep theirs wherever they go.
 * A failure without a trap to tell it, such as an invalid module, returns NULL or false; updraft_last_error says why.
 */
#ifndef WASM_H
#define WASM_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifndef WASM_API_EXTERN
#define WASM_API_EXTERN
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define own

typedef char byte_t;
typedef float float32_t;
typedef double float64_t;

/* ---- What all types have ---- */

#define WASM_DECLARE_OWN(name)                  \
  typedef struct wasm_##name##_t wasm_##name##_t; \
  WASM_API_EXTERN void wasm_##name##_delete(own wasm_##name##_t *);

/* Vectors: `data` is NULL or has room for `size` elements. */
#define WASM_DECLARE_VEC(name, ptr_or_none)                                                                   \
  typedef struct wasm_##name##_vec_t {                                                                        \
    size_t size;                                                                                              \
    wasm_##name##_t ptr_or_none *data;                                                                        \
  } wasm_##name##_vec_t;                                                                                      \
  WASM_API_EXTERN void wasm_##name##_vec_new_empty(own wasm_##name##_vec_t *out);                             \
  WASM_API_EXTERN void wasm_##name##_vec_new_uninitialized(own wasm_##name##_vec_t *out, size_t size);        \
  WASM_API_EXTERN void wasm_##name##_vec_new(own wasm_##name##_vec_t *out, size_t size,                       \
                                             own wasm_##name##_t ptr_or_none const data[]);                   \
  WASM_API_EXTERN void wasm_##name##_vec_copy(own wasm_##name##_vec_t *out, const wasm_##name##_vec_t *from); \
  WASM_API_EXTERN void wasm_##name##_vec_delete(own wasm_##name##_vec_t *);

#define WASM_DECLARE_TYPE(name) \
  WASM_DECLARE_OWN(name)        \
  WASM_DECLARE_VEC(name, *)     \
  WASM_API_EXTERN own wasm_##name##_t *wasm_##name##_copy(const wasm_##name##_t *);

/* ---- Bytes and names ---- */

typedef byte_t wasm_byte_t;
WASM_DECLARE_VEC(byte, )

typedef wasm_byte_vec_t wasm_name_t;
#define wasm_name wasm_byte_vec
#define wasm_name_new wasm_byte_vec_new
#define wasm_name_new_empty wasm_byte_vec_new_empty
#define wasm_name_new_new_uninitialized wasm_byte_vec_new_uninitialized
#define wasm_name_new_uninitialized wasm_byte_vec_new_uninitialized
#define wasm_name_copy wasm_byte_vec_copy
#define wasm_name_delete wasm_byte_vec_delete

static inline void wasm_name_new_from_string(own wasm_name_t *out, const char *s) {
  wasm_name_new(out, strlen(s), s);
}
/* With the NUL at its end. */
static inline void wasm_name_new_from_string_nt(own wasm_name_t *out, const char *s) {
  wasm_name_new(out, strlen(s) + 1, s);
}

/* ---- Configuration, engines, stores ---- */

WASM_DECLARE_OWN(config)
WASM_API_EXTERN own wasm_config_t *wasm_config_new(void);

WASM_DECLARE_OWN(engine)
WASM_API_EXTERN own wasm_engine_t *wasm_engine_new(void);
WASM_API_EXTERN own wasm_engine_t *wasm_engine_new_with_config(own wasm_config_t *);

WASM_DECLARE_OWN(store)
WASM_API_EXTERN own wasm_store_t *wasm_store_new(wasm_engine_t *);

/* ---- Types ---- */

typedef uint8_t wasm_mutability_t;
enum wasm_mutability_enum { WASM_CONST, WASM_VAR };

typedef struct wasm_limits_t {
  uint32_t min;
  uint32_t max;
} wasm_limits_t;
static const uint32_t wasm_limits_max_default = 0xffffffff;

WASM_DECLARE_TYPE(valtype)
typedef uint8_t wasm_valkind_t;
enum wasm_valkind_enum { WASM_I32, WASM_I64, WASM_F32, WASM_F64, WASM_EXTERNREF = 128, WASM_FUNCREF };
/* What WASM_EXTERNREF was called before. */
#define WASM_ANYREF WASM_EXTERNREF

WASM_API_EXTERN own wasm_valtype_t *wasm_valtype_new(wasm_valkind_t);
WASM_API_EXTERN wasm_valkind_t wasm_valtype_kind(const wasm_valtype_t *);
static inline bool wasm_valkind_is_num(wasm_valkind_t k) { return k < WASM_EXTERNREF; }
static inline bool wasm_valkind_is_ref(wasm_valkind_t k) { return k >= WASM_EXTERNREF; }
static inline bool wasm_valtype_is_num(const wasm_valtype_t *t) { return wasm_valkind_is_num(wasm_valtype_kind(t)); }
static inline bool wasm_valtype_is_ref(const wasm_valtype_t *t) { return wasm_valkind_is_ref(wasm_valtype_kind(t)); }

WASM_DECLARE_TYPE(functype)
WASM_API_EXTERN own wasm_functype_t *wasm_functype_new(own wasm_valtype_vec_t *params, own wasm_valtype_vec_t *results);
WASM_API_EXTERN const wasm_valtype_vec_t *wasm_functype_params(const wasm_functype_t *);
WASM_API_EXTERN const wasm_valtype_vec_t *wasm_functype_results(const wasm_functype_t *);

WASM_DECLARE_TYPE(globaltype)
WASM_API_EXTERN own wasm_globaltype_t *wasm_globaltype_new(own wasm_valtype_t *, wasm_mutability_t);
WASM_API_EXTERN const wasm_valtype_t *wasm_globaltype_content(const wasm_globaltype_t *);
WASM_API_EXTERN wasm_mutability_t wasm_globaltype_mutability(const wasm_globaltype_t *);

WASM_DECLARE_TYPE(tabletype)
WASM_API_EXTERN own wasm_tabletype_t *wasm_tabletype_new(own wasm_valtype_t *, const wasm_limits_t *);
WASM_API_EXTERN const wasm_valtype_t *wasm_tabletype_element(const wasm_tabletype_t *);
WASM_API_EXTERN const wasm_limits_t *wasm_tabletype_limits(const wasm_tabletype_t *);

WASM_DECLARE_TYPE(memorytype)
WASM_API_EXTERN own wasm_memorytype_t *wasm_memorytype_new(const wasm_limits_t *);
WASM_API_EXTERN const wasm_limits_t *wasm_memorytype_limits(const wasm_memorytype_t *);

WASM_DECLARE_TYPE(externtype)
typedef uint8_t wasm_externkind_t;
enum wasm_externkind_enum { WASM_EXTERN_FUNC, WASM_EXTERN_GLOBAL, WASM_EXTERN_TABLE, WASM_EXTERN_MEMORY };
WASM_API_EXTERN wasm_externkind_t wasm_externtype_kind(const wasm_externtype_t *);

/* Casts lend, and give NULL for what is of another kind. */
#define WASM_DECLARE_EXTERN_TYPE(name)                                                                             \
  WASM_API_EXTERN wasm_externtype_t *wasm_##name##type_as_externtype(wasm_##name##type_t *);                       \
  WASM_API_EXTERN wasm_##name##type_t *wasm_externtype_as_##name##type(wasm_externtype_t *);                       \
  WASM_API_EXTERN const wasm_externtype_t *wasm_##name##type_as_externtype_const(const wasm_##name##type_t *);     \
  WASM_API_EXTERN const wasm_##name##type_t *wasm_externtype_as_##name##type_const(const wasm_externtype_t *);
WASM_DECLARE_EXTERN_TYPE(func)
WASM_DECLARE_EXTERN_TYPE(global)
WASM_DECLARE_EXTERN_TYPE(table)
WASM_DECLARE_EXTERN_TYPE(memory)

WASM_DECLARE_TYPE(importtype)
WASM_API_EXTERN own wasm_importtype_t *wasm_importtype_new(own wasm_name_t *module, own wasm_name_t *name,
                                                           own wasm_externtype_t *);
WASM_API_EXTERN const wasm_name_t *wasm_importtype_module(const wasm_importtype_t *);
WASM_API_EXTERN const wasm_name_t *wasm_importtype_name(const wasm_importtype_t *);
WASM_API_EXTERN const wasm_externtype_t *wasm_importtype_type(const wasm_importtype_t *);

WASM_DECLARE_TYPE(exporttype)
WASM_API_EXTERN own wasm_exporttype_t *wasm_exporttype_new(own wasm_name_t *, own wasm_externtype_t *);
WASM_API_EXTERN const wasm_name_t *wasm_exporttype_name(const wasm_exporttype_t *);
WASM_API_EXTERN const wasm_externtype_t *wasm_exporttype_type(const wasm_exporttype_t *);

/* ---- Values ---- */

struct wasm_ref_t;

typedef struct wasm_val_t {
  wasm_valkind_t kind;
  union {
    int32_t i32;
    int64_t i64;
    float32_t f32;
    float64_t f64;
    struct wasm_ref_t *ref;
  } of;
} wasm_val_t;

WASM_API_EXTERN void wasm_val_delete(own wasm_val_t *);
WASM_API_EXTERN void wasm_val_copy(own wasm_val_t *out, const wasm_val_t *);
WASM_DECLARE_VEC(val, )

/* ---- References ---- */

#define WASM_DECLARE_REF_BASE(name)                                                               \
  WASM_DECLARE_OWN(name)                                                                          \
  WASM_API_EXTERN own wasm_##name##_t *wasm_##name##_copy(const wasm_##name##_t *);               \
  WASM_API_EXTERN bool wasm_##name##_same(const wasm_##name##_t *, const wasm_##name##_t *);      \
  WASM_API_EXTERN void *wasm_##name##_get_host_info(const wasm_##name##_t *);                     \
  WASM_API_EXTERN void wasm_##name##_set_host_info(wasm_##name##_t *, void *);                    \
  WASM_API_EXTERN void wasm_##name##_set_host_info_with_finalizer(wasm_##name##_t *, void *, void (*)(void *));

#define WASM_DECLARE_REF(name)                                                                 \
  WASM_DECLARE_REF_BASE(name)                                                                  \
  WASM_API_EXTERN wasm_ref_t *wasm_##name##_as_ref(wasm_##name##_t *);                         \
  WASM_API_EXTERN wasm_##name##_t *wasm_ref_as_##name(wasm_ref_t *);                           \
  WASM_API_EXTERN const wasm_ref_t *wasm_##name##_as_ref_const(const wasm_##name##_t *);       \
  WASM_API_EXTERN const wasm_##name##_t *wasm_ref_as_##name##_const(const wasm_ref_t *);

#define WASM_DECLARE_SHARABLE_REF(name)                                                     \
  WASM_DECLARE_REF(name)                                                                    \
  WASM_DECLARE_OWN(shared_##name)                                                           \
  WASM_API_EXTERN own wasm_shared_##name##_t *wasm_##name##_share(const wasm_##name##_t *); \
  WASM_API_EXTERN own wasm_##name##_t *wasm_##name##_obtain(wasm_store_t *, const wasm_shared_##name##_t *);

WASM_DECLARE_REF_BASE(ref)

/* ---- Frames and traps ---- */

WASM_DECLARE_OWN(frame)
WASM_DECLARE_VEC(frame, *)
WASM_API_EXTERN own wasm_frame_t *wasm_frame_copy(const wasm_frame_t *);
WASM_API_EXTERN struct wasm_instance_t *wasm_frame_instance(const wasm_frame_t *);
WASM_API_EXTERN uint32_t wasm_frame_func_index(const wasm_frame_t *);
/* Offsets in bytes; SIZE_MAX where none is known. */
WASM_API_EXTERN size_t wasm_frame_func_offset(const wasm_frame_t *);
WASM_API_EXTERN size_t wasm_frame_module_offset(const wasm_frame_t *);

/* Ends with a NUL, which counts. */
typedef wasm_name_t wasm_message_t;

WASM_DECLARE_REF(trap)
WASM_API_EXTERN own wasm_trap_t *wasm_trap_new(wasm_store_t *, const wasm_message_t *);
WASM_API_EXTERN void wasm_trap_message(const wasm_trap_t *, own wasm_message_t *out);
/* NULL if the trap has no frames. */
WASM_API_EXTERN own wasm_frame_t *wasm_trap_origin(const wasm_trap_t *);
WASM_API_EXTERN void wasm_trap_trace(const wasm_trap_t *, own wasm_frame_vec_t *out);

/* ---- Foreign objects ---- */

WASM_DECLARE_REF(foreign)
WASM_API_EXTERN own wasm_foreign_t *wasm_foreign_new(wasm_store_t *);

/* ---- Modules ---- */

WASM_DECLARE_SHARABLE_REF(module)
WASM_API_EXTERN own wasm_module_t *wasm_module_new(wasm_store_t *, const wasm_byte_vec_t *binary);
WASM_API_EXTERN bool wasm_module_validate(wasm_store_t *, const wasm_byte_vec_t *binary);
WASM_API_EXTERN void wasm_module_imports(const wasm_module_t *, own wasm_importtype_vec_t *out);
WASM_API_EXTERN void wasm_module_exports(const wasm_module_t *, own wasm_exporttype_vec_t *out);
/* The module's own bytes: code is made while the program runs. */
WASM_API_EXTERN void wasm_module_serialize(const wasm_module_t *, own wasm_byte_vec_t *out);
WASM_API_EXTERN own wasm_module_t *wasm_module_deserialize(wasm_store_t *, const wasm_byte_vec_t *);

/* ---- Functions ---- */

WASM_DECLARE_REF(func)
/* Writes its results to `results`, which has room for them, or returns a trap. */
typedef own wasm_trap_t *(*wasm_func_callback_t)(const wasm_val_vec_t *args, own wasm_val_vec_t *results);
typedef own wasm_trap_t *(*wasm_func_callback_with_env_t)(void *env, const wasm_val_vec_t *args,
                                                          own wasm_val_vec_t *results);
WASM_API_EXTERN own wasm_func_t *wasm_func_new(wasm_store_t *, const wasm_functype_t *, wasm_func_callback_t);
/* The finalizer runs when the store is gone. */
WASM_API_EXTERN own wasm_func_t *wasm_func_new_with_env(wasm_store_t *, const wasm_functype_t *type,
                                                        wasm_func_callback_with_env_t, void *env,
                                                        void (*finalizer)(void *));
WASM_API_EXTERN own wasm_functype_t *wasm_func_type(const wasm_func_t *);
WASM_API_EXTERN size_t wasm_func_param_arity(const wasm_func_t *);
WASM_API_EXTERN size_t wasm_func_result_arity(const wasm_func_t *);
/* `results` has room for all results. They are written if the call returns NULL. */
WASM_API_EXTERN own wasm_trap_t *wasm_func_call(const wasm_func_t *, const wasm_val_vec_t *args,
                                                wasm_val_vec_t *results);

/* ---- Globals ---- */

WASM_DECLARE_REF(global)
WASM_API_EXTERN own wasm_global_t *wasm_global_new(wasm_store_t *, const wasm_globaltype_t *, const wasm_val_t *);
WASM_API_EXTERN own wasm_globaltype_t *wasm_global_type(const wasm_global_t *);
WASM_API_EXTERN void wasm_global_get(const wasm_global_t *, own wasm_val_t *out);
WASM_API_EXTERN void wasm_global_set(wasm_global_t *, const wasm_val_t *);

/* ---- Tables ---- */

WASM_DECLARE_REF(table)
typedef uint32_t wasm_table_size_t;
WASM_API_EXTERN own wasm_table_t *wasm_table_new(wasm_store_t *, const wasm_tabletype_t *, wasm_ref_t *init);
WASM_API_EXTERN own wasm_tabletype_t *wasm_table_type(const wasm_table_t *);
WASM_API_EXTERN own wasm_ref_t *wasm_table_get(const wasm_table_t *, wasm_table_size_t index);
WASM_API_EXTERN bool wasm_table_set(wasm_table_t *, wasm_table_size_t index, wasm_ref_t *);
WASM_API_EXTERN wasm_table_size_t wasm_table_size(const wasm_table_t *);
WASM_API_EXTERN bool wasm_table_grow(wasm_table_t *, wasm_table_size_t delta, wasm_ref_t *init);

/* ---- Memories ---- */

WASM_DECLARE_REF(memory)
typedef uint32_t wasm_memory_pages_t;
static const size_t MEMORY_PAGE_SIZE = 0x10000;
WASM_API_EXTERN own wasm_memory_t *wasm_memory_new(wasm_store_t *, const wasm_memorytype_t *);
WASM_API_EXTERN own wasm_memorytype_t *wasm_memory_type(const wasm_memory_t *);
/* Never moves, and is accessible up to wasm_memory_data_size. */
WASM_API_EXTERN byte_t *wasm_memory_data(wasm_memory_t *);
WASM_API_EXTERN size_t wasm_memory_data_size(const wasm_memory_t *);
WASM_API_EXTERN wasm_memory_pages_t wasm_memory_size(const wasm_memory_t *);
WASM_API_EXTERN bool wasm_memory_grow(wasm_memory_t *, wasm_memory_pages_t delta);

/* ---- Externs ---- */

WASM_DECLARE_REF(extern)
WASM_DECLARE_VEC(extern, *)
WASM_API_EXTERN wasm_externkind_t wasm_extern_kind(const wasm_extern_t *);
WASM_API_EXTERN own wasm_externtype_t *wasm_extern_type(const wasm_extern_t *);

#define WASM_DECLARE_EXTERN(name)                                                                \
  WASM_API_EXTERN wasm_extern_t *wasm_##name##_as_extern(wasm_##name##_t *);                     \
  WASM_API_EXTERN wasm_##name##_t *wasm_extern_as_##name(wasm_extern_t *);                       \
  WASM_API_EXTERN const wasm_extern_t *wasm_##name##_as_extern_const(const wasm_##name##_t *);   \
  WASM_API_EXTERN const wasm_##name##_t *wasm_extern_as_##name##_const(const wasm_extern_t *);
WASM_DECLARE_EXTERN(func)
WASM_DECLARE_EXTERN(global)
WASM_DECLARE_EXTERN(table)
WASM_DECLARE_EXTERN(memory)

/* ---- Instances ---- */

WASM_DECLARE_REF(instance)
/* Imports are in the order of wasm_module_imports. NULL on failure: the trap, if asked for, says why. */
WASM_API_EXTERN own wasm_instance_t *wasm_instance_new(wasm_store_t *, const wasm_module_t *,
                                                       const wasm_extern_vec_t *imports, own wasm_trap_t **);
WASM_API_EXTERN void wasm_instance_exports(const wasm_instance_t *, own wasm_extern_vec_t *out);

/* ---- Short forms ---- */

#define WASM_EMPTY_VEC {0, NULL}
#define WASM_ARRAY_VEC(array) {sizeof(array) / sizeof(*(array)), array}

static inline own wasm_valtype_t *wasm_valtype_new_i32(void) { return wasm_valtype_new(WASM_I32); }
static inline own wasm_valtype_t *wasm_valtype_new_i64(void) { return wasm_valtype_new(WASM_I64); }
static inline own wasm_valtype_t *wasm_valtype_new_f32(void) { return wasm_valtype_new(WASM_F32); }
static inline own wasm_valtype_t *wasm_valtype_new_f64(void) { return wasm_valtype_new(WASM_F64); }
static inline own wasm_valtype_t *wasm_valtype_new_externref(void) { return wasm_valtype_new(WASM_EXTERNREF); }
static inline own wasm_valtype_t *wasm_valtype_new_anyref(void) { return wasm_valtype_new(WASM_EXTERNREF); }
static inline own wasm_valtype_t *wasm_valtype_new_funcref(void) { return wasm_valtype_new(WASM_FUNCREF); }

static inline own wasm_functype_t *wasm_functype_of_arrays(size_t n, wasm_valtype_t *const ps[], size_t m,
                                                           wasm_valtype_t *const rs[]) {
  wasm_valtype_vec_t params, results;
  wasm_valtype_vec_new(&params, n, ps);
  wasm_valtype_vec_new(&results, m, rs);
  return wasm_functype_new(&params, &results);
}
static inline own wasm_functype_t *wasm_functype_new_0_0(void) { return wasm_functype_of_arrays(0, NULL, 0, NULL); }

/* The functions wasm_functype_new_N_M: N parameters, M results. */
#define WASM_P1 own wasm_valtype_t *p1
#define WASM_P2 WASM_P1, own wasm_valtype_t *p2
#define WASM_P3 WASM_P2, own wasm_valtype_t *p3
#define WASM_R1 own wasm_valtype_t *r1
#define WASM_R2 WASM_R1, own wasm_valtype_t *r2
#define WASM_A1 p1
#define WASM_A2 p1, p2
#define WASM_A3 p1, p2, p3
#define WASM_B1 r1
#define WASM_B2 r1, r2
#define WASM_FUNCTYPE_N_0(n)                                                     \
  static inline own wasm_functype_t *wasm_functype_new_##n##_0(WASM_P##n) {      \
    wasm_valtype_t *ps[] = {WASM_A##n};                                          \
    return wasm_functype_of_arrays(n, ps, 0, NULL);                              \
  }
#define WASM_FUNCTYPE_0_M(m)                                                     \
  static inline own wasm_functype_t *wasm_functype_new_0_##m(WASM_R##m) {        \
    wasm_valtype_t *rs[] = {WASM_B##m};                                          \
    return wasm_functype_of_arrays(0, NULL, m, rs);                              \
  }
#define WASM_FUNCTYPE_N_M(n, m)                                                          \
  static inline own wasm_functype_t *wasm_functype_new_##n##_##m(WASM_P##n, WASM_R##m) { \
    wasm_valtype_t *ps[] = {WASM_A##n}, *rs[] = {WASM_B##m};                             \
    return wasm_functype_of_arrays(n, ps, m, rs);                                        \
  }
WASM_FUNCTYPE_N_0(1)
WASM_FUNCTYPE_N_0(2)
WASM_FUNCTYPE_N_0(3)
WASM_FUNCTYPE_0_M(1)
WASM_FUNCTYPE_0_M(2)
WASM_FUNCTYPE_N_M(1, 1)
WASM_FUNCTYPE_N_M(2, 1)
WASM_FUNCTYPE_N_M(3, 1)
WASM_FUNCTYPE_N_M(1, 2)
WASM_FUNCTYPE_N_M(2, 2)
WASM_FUNCTYPE_N_M(3, 2)

/* Pointers as values of the host's integer type. */
static inline void wasm_val_init_ptr(own wasm_val_t *out, void *p) {
  out->kind = sizeof(intptr_t) == sizeof(uint64_t) ? WASM_I64 : WASM_I32;
  out->of.i64 = (int64_t)(intptr_t)p;
}
static inline void *wasm_val_ptr(const wasm_val_t *val) {
  return sizeof(intptr_t) == sizeof(uint64_t) ? (void *)(intptr_t)val->of.i64 : (void *)(intptr_t)val->of.i32;
}

#ifdef __cplusplus
#define WASM_MAKE_VAL(k, field, v) [&] { wasm_val_t made = wasm_val_t(); made.kind = k; made.of.field = v; return made; }()
#define WASM_I32_VAL(i) WASM_MAKE_VAL(WASM_I32, i32, i)
#define WASM_I64_VAL(i) WASM_MAKE_VAL(WASM_I64, i64, i)
#define WASM_F32_VAL(z) WASM_MAKE_VAL(WASM_F32, f32, z)
#define WASM_F64_VAL(z) WASM_MAKE_VAL(WASM_F64, f64, z)
#define WASM_REF_VAL(r) WASM_MAKE_VAL(WASM_EXTERNREF, ref, r)
#define WASM_INIT_VAL WASM_MAKE_VAL(WASM_EXTERNREF, ref, NULL)
#else
#define WASM_I32_VAL(i) {.kind = WASM_I32, .of = {.i32 = i}}
#define WASM_I64_VAL(i) {.kind = WASM_I64, .of = {.i64 = i}}
#define WASM_F32_VAL(z) {.kind = WASM_F32, .of = {.f32 = z}}
#define WASM_F64_VAL(z) {.kind = WASM_F64, .of = {.f64 = z}}
#define WASM_REF_VAL(r) {.kind = WASM_EXTERNREF, .of = {.ref = r}}
#define WASM_INIT_VAL {.kind = WASM_EXTERNREF, .of = {.ref = NULL}}
#endif

#undef own

#ifdef __cplusplus
}
#endif

#endif
