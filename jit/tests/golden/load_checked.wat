;;! asm full get
;; A load of a 64-bit memory: the bounds are checked.
(module
  (memory i64 1)
  (func (export "get") (param i64) (result i32) (i32.load offset=8 (local.get 0))))
;;; expected
;; f0:
;;   pushq  %rbp
;;   movq  %rsp, %rbp
;;   cmpq  $-9, %rsi
;;   ja  .LBB0_3
;;   addq  $8, %rsi
;;   movq  16(%rdi), %rax
;;   movq  (%rax), %rax
;;   xorl  %ecx, %ecx
;;   subq  $3, %rax
;;   cmovaeq  %rax, %rcx
;;   cmpq  %rcx, %rsi
;;   jae  .LBB0_4
;;   movq  8(%rdi), %rax
;;   movl  (%rax,%rsi), %eax
;;   popq  %rbp
;;   retq
;; .LBB0_3:
;;   movl  $2, %esi
;;   callq  updraft_raise@PLT
;; .LBB0_4:
;;   movl  $2, %esi
;;   callq  updraft_raise@PLT
;; .Lfunc_end0:
