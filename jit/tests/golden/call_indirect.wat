;;! llvm-opt full caller
;; A call through a table: bounds, type and instance are one comparison each, or less; what does not fit is the runtime's.
(module
  (type $t (func (param i32) (result i32)))
  (table 4 funcref)
  (func (export "caller") (param i32 i32) (result i32)
    (call_indirect (type $t) (local.get 0) (local.get 1))))
;;; expected
;; define i32 @f0(ptr noalias nonnull %0, i32 %1, i32 %2) {
;; entry:
;;   %3 = getelementptr i8, ptr %0, i64 40
;;   %4 = load ptr, ptr %3, align 8
;;   %5 = load ptr, ptr %4, align 8
;;   %6 = getelementptr i8, ptr %0, i64 24
;;   %7 = load ptr, ptr %6, align 8
;;   %8 = alloca i64, align 8
;;   %9 = call ptr @llvm.frameaddress.p0(i32 0)
;;   %10 = ptrtoint ptr %9 to i64
;;   %11 = getelementptr i8, ptr %0, i64 72
;;   %12 = load i64, ptr %11, align 8
;;   %13 = icmp ugt i64 %12, %10
;;   br i1 %13, label %37, label %29
;; 14:
;;   %15 = load ptr, ptr %5, align 8
;;   %16 = getelementptr i64, ptr %15, i64 %30
;;   %17 = load i64, ptr %16, align 8
;;   %18 = and i64 %17, 4294967295
;;   %19 = icmp eq i64 %18, 1
;;   br i1 %19, label %20, label %34
;; 20:
;;   %21 = lshr i64 %17, 32
;;   %22 = getelementptr ptr, ptr %7, i64 %21
;;   %23 = load atomic ptr, ptr %22 monotonic, align 8
;;   %24 = call i32 %23(ptr nonnull %0, i32 %1)
;;   br label %27
;; 25:
;;   %26 = load i32, ptr %8, align 4
;;   br label %27
;; 27:
;;   %28 = phi i32 [ %24, %20 ], [ %26, %25 ]
;;   ret i32 %28
;; 29:
;;   %30 = zext i32 %2 to i64
;;   %31 = getelementptr i8, ptr %5, i64 8
;;   %32 = load i64, ptr %31, align 8
;;   %33 = icmp ugt i64 %32, %30
;;   br i1 %33, label %14, label %34
;; 34:
;;   store i32 %1, ptr %8, align 4
;;   %35 = call i32 @updraft_call_indirect(ptr nonnull %0, i32 0, i64 %30, i32 0, ptr nonnull %8)
;;   %.not = icmp eq i32 %35, 0
;;   br i1 %.not, label %25, label %36
;; 36:
;;   call void @updraft_raise_pending(ptr nonnull %0)
;;   unreachable
;; 37:
;;   call void @updraft_raise(ptr nonnull %0, i32 10)
;;   unreachable
;; }
