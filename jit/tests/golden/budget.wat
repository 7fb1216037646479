;;! llvm quick count
;; Quick code spends its budget at its entry and at the loop's header, and may go on in a better entry.
(module
  (func (export "count") (param i32) (result i32)
    (loop $l (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
    (local.get 0)))
;;; expected
;; define i32 @f0(ptr noalias nonnull %0, i32 %1) {
;; entry:
;;   %2 = alloca i32, align 4
;;   store i32 %1, ptr %2, align 4
;;   %3 = alloca i64, i64 5, align 8
;;   %4 = call ptr @llvm.frameaddress.p0(i32 0)
;;   %5 = ptrtoint ptr %4 to i64
;;   %6 = getelementptr i8, ptr %0, i64 72
;;   %7 = load i64, ptr %6, align 8
;;   %8 = icmp ult i64 %5, %7
;;   br i1 %8, label %33, label %20
;; 9:
;;   br label %10
;; 10:
;;   %11 = load i64, ptr %0, align 8
;;   %12 = sub i64 %11, 6
;;   store i64 %12, ptr %0, align 8
;;   %13 = icmp slt i64 %12, 0
;;   br i1 %13, label %25, label %14
;; 14:
;;   %15 = load i32, ptr %2, align 4
;;   %16 = sub i32 %15, 1
;;   store i32 %16, ptr %2, align 4
;;   %17 = icmp ne i32 %16, 0
;;   br i1 %17, label %10, label %18
;; 18:
;;   %19 = load i32, ptr %2, align 4
;;   ret i32 %19
;; 20:
;;   %21 = load i64, ptr %0, align 8
;;   %22 = sub i64 %21, 3
;;   store i64 %22, ptr %0, align 8
;;   %23 = icmp slt i64 %22, 0
;;   br i1 %23, label %34, label %24
;; 24:
;;   br label %9
;; 25:
;;   %26 = call ptr @updraft_budget(ptr %0, i32 0, i32 0)
;;   %27 = icmp eq ptr %26, null
;;   br i1 %27, label %14, label %28
;; 28:
;;   br label %29
;; 29:
;;   %30 = phi ptr [ %26, %28 ]
;;   %31 = load i32, ptr %2, align 4
;;   store i32 %31, ptr %3, align 4
;;   call void %30(ptr %0, ptr %3)
;;   %32 = load i32, ptr %3, align 4
;;   ret i32 %32
;; 33:
;;   call void @updraft_raise(ptr %0, i32 10)
;;   unreachable
;; 34:
;;   %35 = call ptr @updraft_budget(ptr %0, i32 0, i32 -1)
;;   br label %24
;; }
