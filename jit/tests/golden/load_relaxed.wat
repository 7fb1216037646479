;;! llvm-opt full get relaxed
;; The same with relaxed traps: neither is left.
(module
  (memory 1)
  (func (export "get") (param i32)
    (i32.store (i32.const 8) (i32.const 1))
    (drop (i32.load (local.get 0)))
    (i32.store (i32.const 8) (i32.const 2))))
;;; expected
;; define void @f0(ptr noalias nonnull %0, i32 %1) {
;; entry:
;;   %2 = getelementptr i8, ptr %0, i64 8
;;   %3 = load ptr, ptr %2, align 8
;;   %4 = getelementptr i8, ptr %3, i64 8
;;   store i32 2, ptr %4, align 1
;;   ret void
;; }
