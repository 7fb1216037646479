;;! asm full get
;; A load of a 32-bit memory: no check, for what is outside faults.
(module
  (memory 1)
  (func (export "get") (param i32) (result i32) (i32.load offset=8 (local.get 0))))
;;; expected
;; f0:
;;   pushq  %rbp
;;   movq  %rsp, %rbp
;;   movq  8(%rdi), %rax
;;   movl  %esi, %ecx
;;   movl  8(%rax,%rcx), %eax
;;   popq  %rbp
;;   retq
;; .Lfunc_end0:
