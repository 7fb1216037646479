;;! asm full add
;; A loop that adds becomes one addition.
(module
  (memory 1 1 shared)
  (func (export "add") (param $at i32) (result i32) (local $old i32)
    (loop
      (local.get $at) (i32.load) (local.tee $old)
      (local.get $at) (local.get $old) (local.get $old) (i32.const 3) (i32.add) (i32.atomic.rmw.cmpxchg)
      (i32.ne) (br_if 0))
    (local.get $old)))
;;; expected
;; f0:
;;   movq  8(%rdi), %rcx
;;   movl  %esi, %edx
;;   movl  (%rcx,%rdx), %eax
;;   testb  $3, %dl
;;   jne  .LBB0_2
;;   movl  $3, %eax
;;   lock    xaddl  %eax, (%rcx,%rdx)
;;   retq
;; .LBB0_2:
;;   pushq  %rbp
;;   movq  %rsp, %rbp
;;   movl  $11, %esi
;;   callq  updraft_raise@PLT
;; .Lfunc_end0:
