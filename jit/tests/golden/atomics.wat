;;! asm full add
;; Atomic accesses are the machine's own, behind a check of the alignment.
(module
  (memory 1 1 shared)
  (func (export "add") (param i32 i32) (result i32)
    (i32.atomic.store offset=4 (local.get 0) (local.get 1))
    (i32.atomic.rmw.add (local.get 0) (local.get 1))))
;;; expected
;; f0:
;;   movl  %esi, %eax
;;   testb  $3, %al
;;   jne  .LBB0_2
;;   movq  8(%rdi), %rcx
;;   movl  %edx, %esi
;;   xchgl  %esi, 4(%rcx,%rax)
;;   lock    xaddl  %edx, (%rcx,%rax)
;;   movl  %edx, %eax
;;   retq
;; .LBB0_2:
;;   pushq  %rbp
;;   movq  %rsp, %rbp
;;   movl  $11, %esi
;;   callq  updraft_raise@PLT
;; .Lfunc_end0:
