;;! asm full swap
;; A loop of compare-and-exchange becomes one exchange.
(module
  (memory 1 1 shared)
  (func (export "swap") (param $at i32) (param $new i32) (result i32) (local $old i32)
    (loop
      (local.get $at) (i32.load offset=4) (local.tee $old)
      (local.get $at) (local.get $old) (local.get $new) (i32.atomic.rmw.cmpxchg offset=4)
      (i32.ne) (br_if 0))
    (local.get $old)))
;;; expected
;; f0:
;;   movq  8(%rdi), %rax
;;   movl  %esi, %ecx
;;   movl  4(%rax,%rcx), %esi
;;   testb  $3, %cl
;;   jne  .LBB0_2
;;   xchgl  %edx, 4(%rax,%rcx)
;;   movl  %edx, %eax
;;   retq
;; .LBB0_2:
;;   pushq  %rbp
;;   movq  %rsp, %rbp
;;   movl  $11, %esi
;;   callq  updraft_raise@PLT
;; .Lfunc_end0:
