;;! asm full caller
;; A call through the code table: one load of the entry, which is always there, and an indirect call.
(module
  (func $callee (param i32) (result i32) (local.get 0))
  (func (export "caller") (param i32) (result i32)
    (i32.add (call $callee (local.get 0)) (i32.const 1))))
;;; expected
;; f1:
;;   pushq  %rbp
;;   movq  %rsp, %rbp
;;   cmpq  %rbp, 72(%rdi)
;;   ja  .LBB0_2
;;   movq  24(%rdi), %rax
;;   movq  (%rax), %rax
;;   callq  *%rax
;;   incl  %eax
;;   popq  %rbp
;;   retq
;; .LBB0_2:
;;   movl  $10, %esi
;;   callq  updraft_raise@PLT
;; .Lfunc_end0:
