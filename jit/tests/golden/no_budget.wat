;;! asm full spin
;; Full code has neither counters nor polls, and reads anew on each turn.
(module
  (memory 1 1 shared)
  (func (export "spin") (loop $l (br_if $l (i32.eqz (i32.load (i32.const 0)))))))
;;; expected
;; f0:
;;   pushq  %rbp
;;   movq  %rsp, %rbp
;;   movq  8(%rdi), %rax
;; .LBB0_1:
;;   cmpl  $0, (%rax)
;;   je  .LBB0_1
;;   popq  %rbp
;;   retq
;; .Lfunc_end0:
