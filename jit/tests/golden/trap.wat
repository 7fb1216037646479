;;! asm full div
;; Traps that are no faults: checks, and calls out of line that do not return.
(module
  (func (export "div") (param i32 i32) (result i32) (i32.div_s (local.get 0) (local.get 1))))
;;; expected
;; f0:
;;   pushq  %rbp
;;   movq  %rsp, %rbp
;;   testl  %edx, %edx
;;   je  .LBB0_3
;;   movl  %edx, %ecx
;;   leal  -2147483648(%rsi), %eax
;;   notl  %edx
;;   orl  %eax, %edx
;;   je  .LBB0_4
;;   movl  %esi, %eax
;;   cltd
;;   idivl  %ecx
;;   popq  %rbp
;;   retq
;; .LBB0_3:
;;   movl  $8, %esi
;;   callq  updraft_raise@PLT
;; .LBB0_4:
;;   movl  $7, %esi
;;   callq  updraft_raise@PLT
;; .Lfunc_end0:
