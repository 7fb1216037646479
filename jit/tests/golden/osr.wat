;;! llvm full sum osr 1
;; An entry into the inner of two loops: it loads what is live from the frame's slots, and goes on with the rest of the function.
(module
  (func (export "sum") (param i32) (result i64) (local i32 i64)
    (loop $outer
      (local.set 1 (i32.const 9))
      (loop $inner
        (local.set 2 (i64.add (local.get 2) (i64.extend_i32_u (local.get 1))))
        (br_if $inner (local.tee 1 (i32.sub (local.get 1) (i32.const 1)))))
      (br_if $outer (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
    (local.get 2)))
;;; expected
;; define void @o0_1(ptr noalias nonnull %0, ptr %1) {
;; entry:
;;   %2 = alloca i32, align 4
;;   %3 = getelementptr i64, ptr %1, i64 0
;;   %4 = load i32, ptr %3, align 4
;;   store i32 %4, ptr %2, align 4
;;   %5 = alloca i32, align 4
;;   %6 = getelementptr i64, ptr %1, i64 1
;;   %7 = load i32, ptr %6, align 4
;;   store i32 %7, ptr %5, align 4
;;   %8 = alloca i64, align 8
;;   %9 = getelementptr i64, ptr %1, i64 2
;;   %10 = load i64, ptr %9, align 8
;;   store i64 %10, ptr %8, align 8
;;   br label %13
;; 11:                                               ; No predecessors!
;;   br label %12
;; 12:
;;   store i32 9, ptr %5, align 4
;;   unreachable
;; 13:
;;   br label %14
;; 14:
;;   %15 = load i64, ptr %8, align 8
;;   %16 = load i32, ptr %5, align 4
;;   %17 = zext i32 %16 to i64
;;   %18 = add i64 %15, %17
;;   store i64 %18, ptr %8, align 8
;;   %19 = load i32, ptr %5, align 4
;;   %20 = sub i32 %19, 1
;;   store i32 %20, ptr %5, align 4
;;   %21 = icmp ne i32 %20, 0
;;   br i1 %21, label %14, label %22
;; 22:
;;   %23 = load i32, ptr %2, align 4
;;   %24 = sub i32 %23, 1
;;   store i32 %24, ptr %2, align 4
;;   %25 = icmp ne i32 %24, 0
;;   br i1 %25, label %27, label %26
;; 26:
;;   br label %41
;; 27:
;;   store i32 9, ptr %5, align 4
;;   br label %28
;; 28:
;;   %29 = load i64, ptr %8, align 8
;;   %30 = load i32, ptr %5, align 4
;;   %31 = zext i32 %30 to i64
;;   %32 = add i64 %29, %31
;;   store i64 %32, ptr %8, align 8
;;   %33 = load i32, ptr %5, align 4
;;   %34 = sub i32 %33, 1
;;   store i32 %34, ptr %5, align 4
;;   %35 = icmp ne i32 %34, 0
;;   br i1 %35, label %28, label %36
;; 36:
;;   %37 = load i32, ptr %2, align 4
;;   %38 = sub i32 %37, 1
;;   store i32 %38, ptr %2, align 4
;;   %39 = icmp ne i32 %38, 0
;;   br i1 %39, label %27, label %40
;; 40:
;;   br label %41
;; 41:
;;   %42 = load i64, ptr %8, align 8
;;   store i64 %42, ptr %1, align 8
;;   ret void
;; }
