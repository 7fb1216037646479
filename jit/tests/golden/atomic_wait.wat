;;! llvm-opt full wait
;; Waiting is the runtime's; a negative answer is a cause to leave.
(module
  (memory 1 1 shared)
  (func (export "wait") (param i32 i32 i64) (result i32)
    (memory.atomic.wait32 offset=4 (local.get 0) (local.get 1) (local.get 2))))
;;; expected
;; define i32 @f0(ptr noalias nonnull %0, i32 %1, i32 %2, i64 %3) {
;; entry:
;;   %4 = call ptr @llvm.frameaddress.p0(i32 0)
;;   %5 = ptrtoint ptr %4 to i64
;;   %6 = getelementptr i8, ptr %0, i64 72
;;   %7 = load i64, ptr %6, align 8
;;   %8 = icmp ugt i64 %7, %5
;;   br i1 %8, label %20, label %15
;; 9:
;;   %10 = add nuw nsw i64 %16, 4
;;   %11 = call i64 @updraft_atomic_wait32(ptr nonnull %0, i32 0, i64 %10, i32 %2, i64 %3)
;;   %12 = icmp eq i64 %11, -1
;;   br i1 %12, label %19, label %13
;; 13:
;;   %14 = trunc i64 %11 to i32
;;   ret i32 %14
;; 15:
;;   %16 = zext i32 %1 to i64
;;   %17 = and i64 %16, 3
;;   %.not = icmp eq i64 %17, 0
;;   br i1 %.not, label %9, label %18
;; 18:
;;   call void @updraft_raise(ptr nonnull %0, i32 11)
;;   unreachable
;; 19:
;;   call void @updraft_raise_pending(ptr nonnull %0)
;;   unreachable
;; 20:
;;   call void @updraft_raise(ptr nonnull %0, i32 10)
;;   unreachable
;; }
