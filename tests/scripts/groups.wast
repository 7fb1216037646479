;; Recursion groups of function types: types of the same form are others in other places.

(module $a
  (rec (type $x (func (result i32))) (type $y (func (result i32))))
  (type $plain (func (result i32)))
  (func $fx (export "fx") (type $x) (i32.const 1))
  (func $fy (export "fy") (type $y) (i32.const 2))
  (func $fp (export "fp") (type $plain) (i32.const 3))
  (table (export "table") 3 funcref)
  (elem (i32.const 0) $fx $fy $fp)
  (func (export "call x") (param i32) (result i32) (call_indirect (type $x) (local.get 0)))
  (func (export "call y") (param i32) (result i32) (call_indirect (type $y) (local.get 0)))
  (func (export "call plain") (param i32) (result i32) (call_indirect (type $plain) (local.get 0))))

(assert_return (invoke "call x" (i32.const 0)) (i32.const 1))
(assert_trap (invoke "call x" (i32.const 1)) "indirect call type mismatch")
(assert_trap (invoke "call x" (i32.const 2)) "indirect call type mismatch")
(assert_trap (invoke "call y" (i32.const 0)) "indirect call type mismatch")
(assert_return (invoke "call y" (i32.const 1)) (i32.const 2))
(assert_trap (invoke "call plain" (i32.const 1)) "indirect call type mismatch")
(assert_return (invoke "call plain" (i32.const 2)) (i32.const 3))

(register "a")

;; Equal groups of two modules are equal; the table's references are of another instance.
(module
  (type (func))
  (rec (type $x (func (result i32))) (type $y (func (result i32))))
  (func $fx (import "a" "fx") (type $x))
  (func $fy (import "a" "fy") (type $y))
  (table (import "a" "table") 3 funcref)
  (func (export "calls") (result i32 i32) (call $fx) (call $fy))
  (func (export "call x") (param i32) (result i32) (call_indirect (type $x) (local.get 0))))

(assert_return (invoke "calls") (i32.const 1) (i32.const 2))
(assert_return (invoke "call x" (i32.const 0)) (i32.const 1))
(assert_trap (invoke "call x" (i32.const 1)) "indirect call type mismatch")
(assert_trap (invoke "call x" (i32.const 2)) "indirect call type mismatch")

(assert_unlinkable
  (module
    (rec (type $x (func (result i32))) (type $y (func (result i32))))
    (func (import "a" "fx") (type $y)))
  "incompatible import type")
(assert_unlinkable
  (module
    (rec (type $x (func (result i32))) (type $y (func (result i32))) (type $z (func)))
    (func (import "a" "fx") (type $x)))
  "incompatible import type")
(assert_unlinkable
  (module (func (import "a" "fx") (result i32)))
  "incompatible import type")
(assert_unlinkable
  (module
    (rec (type $x (func)) (type $y (func)))
    (func (import "spectest" "print") (type $x)))
  "incompatible import type")

;; A group of one is no other type.
(module
  (rec (type $p (func (result i32))))
  (func $fp (import "a" "fp") (type $p))
  (func (export "call") (result i32) (call $fp)))
(assert_return (invoke "call") (i32.const 3))

;; Types that refer to each other.
(module
  (rec
    (type $even (func (param i32 (ref $odd)) (result i32)))
    (type $odd (func (param i32 (ref $even)) (result i32))))
  (elem declare func $is_even $is_odd)
  (func $is_even (type $even)
    (if (result i32) (i32.eqz (local.get 0))
      (then (i32.const 1))
      (else (call_ref $odd (i32.sub (local.get 0) (i32.const 1)) (ref.func $is_even) (local.get 1)))))
  (func $is_odd (type $odd)
    (if (result i32) (i32.eqz (local.get 0))
      (then (i32.const 0))
      (else (call_ref $even (i32.sub (local.get 0) (i32.const 1)) (ref.func $is_odd) (local.get 1)))))
  (func (export "even") (param i32) (result i32)
    (call $is_even (local.get 0) (ref.func $is_odd))))

(assert_return (invoke "even" (i32.const 10)) (i32.const 1))
(assert_return (invoke "even" (i32.const 7)) (i32.const 0))

(assert_invalid
  (module
    (rec (type $x (func)) (type $y (func)))
    (elem declare func $f)
    (func $f (type $x))
    (func (result (ref $y)) (ref.func $f)))
  "type mismatch")
