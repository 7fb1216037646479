;; Read-modify-write of all widths: no addition is lost, and none runs over into its neighbours.
;;
;;   T1, T2: add 1, four times, to an 8-bit, a 16-bit, a 32-bit and a 64-bit counter           forbidden: any is not 8
;;
;; Round i has a cell of 256 bytes: x at 0, y at 64, results from 128 on. The threads go through the rounds loosely in step: each
;; waits for the others for some turns only, so that no outcome depends on how they are scheduled.
(module $Mem (memory (export "shared") 8 8 shared))

(thread $T1 (shared (module $Mem))
  (register "mem" $Mem)
  (module
    (memory (import "mem" "shared") 8 8 shared)
    ;; Tells that this thread is at a round, and waits a little for the others.
    (func $step (param $me i32) (param $round i32) (local $turns i32)
      (i32.atomic.store (local.get $me) (local.get $round))
      (local.set $turns (i32.const 60))
      (block $together
        (loop $again
          (br_if $together (i32.and
            (i32.ge_u (i32.atomic.load (i32.const 0)) (local.get $round))
            (i32.ge_u (i32.atomic.load (i32.const 64)) (local.get $round))))
          (br_if $again (local.tee $turns (i32.sub (local.get $turns) (i32.const 1)))))))
    (func (export "run") (local $round i32) (local $x i32) (local $y i32)
      (loop $rounds
        (local.set $round (i32.add (local.get $round) (i32.const 1)))
        (call $step (i32.const 0) (local.get $round))
        (local.set $x (i32.shl (local.get $round) (i32.const 8)))
        (local.set $y (i32.add (local.get $x) (i32.const 64)))
        (drop (i32.atomic.rmw8.add_u (local.get $x) (i32.const 1)))
        (drop (i32.atomic.rmw16.add_u offset=2 (local.get $x) (i32.const 1)))
        (drop (i32.atomic.rmw.add offset=4 (local.get $x) (i32.const 1)))
        (drop (i64.atomic.rmw.add offset=8 (local.get $x) (i64.const 1)))
        (drop (i32.atomic.rmw8.add_u (local.get $x) (i32.const 1)))
        (drop (i32.atomic.rmw16.add_u offset=2 (local.get $x) (i32.const 1)))
        (drop (i32.atomic.rmw.add offset=4 (local.get $x) (i32.const 1)))
        (drop (i64.atomic.rmw.add offset=8 (local.get $x) (i64.const 1)))
        (drop (i32.atomic.rmw8.add_u (local.get $x) (i32.const 1)))
        (drop (i32.atomic.rmw16.add_u offset=2 (local.get $x) (i32.const 1)))
        (drop (i32.atomic.rmw.add offset=4 (local.get $x) (i32.const 1)))
        (drop (i64.atomic.rmw.add offset=8 (local.get $x) (i64.const 1)))
        (drop (i32.atomic.rmw8.add_u (local.get $x) (i32.const 1)))
        (drop (i32.atomic.rmw16.add_u offset=2 (local.get $x) (i32.const 1)))
        (drop (i32.atomic.rmw.add offset=4 (local.get $x) (i32.const 1)))
        (drop (i64.atomic.rmw.add offset=8 (local.get $x) (i64.const 1)))
        (br_if $rounds (i32.lt_u (local.get $round) (i32.const 2000))))))
  (invoke "run"))

(thread $T2 (shared (module $Mem))
  (register "mem" $Mem)
  (module
    (memory (import "mem" "shared") 8 8 shared)
    ;; Tells that this thread is at a round, and waits a little for the others.
    (func $step (param $me i32) (param $round i32) (local $turns i32)
      (i32.atomic.store (local.get $me) (local.get $round))
      (local.set $turns (i32.const 60))
      (block $together
        (loop $again
          (br_if $together (i32.and
            (i32.ge_u (i32.atomic.load (i32.const 0)) (local.get $round))
            (i32.ge_u (i32.atomic.load (i32.const 64)) (local.get $round))))
          (br_if $again (local.tee $turns (i32.sub (local.get $turns) (i32.const 1)))))))
    (func (export "run") (local $round i32) (local $x i32) (local $y i32)
      (loop $rounds
        (local.set $round (i32.add (local.get $round) (i32.const 1)))
        (call $step (i32.const 64) (local.get $round))
        (local.set $x (i32.shl (local.get $round) (i32.const 8)))
        (local.set $y (i32.add (local.get $x) (i32.const 64)))
        (drop (i32.atomic.rmw8.add_u (local.get $x) (i32.const 1)))
        (drop (i32.atomic.rmw16.add_u offset=2 (local.get $x) (i32.const 1)))
        (drop (i32.atomic.rmw.add offset=4 (local.get $x) (i32.const 1)))
        (drop (i64.atomic.rmw.add offset=8 (local.get $x) (i64.const 1)))
        (drop (i32.atomic.rmw8.add_u (local.get $x) (i32.const 1)))
        (drop (i32.atomic.rmw16.add_u offset=2 (local.get $x) (i32.const 1)))
        (drop (i32.atomic.rmw.add offset=4 (local.get $x) (i32.const 1)))
        (drop (i64.atomic.rmw.add offset=8 (local.get $x) (i64.const 1)))
        (drop (i32.atomic.rmw8.add_u (local.get $x) (i32.const 1)))
        (drop (i32.atomic.rmw16.add_u offset=2 (local.get $x) (i32.const 1)))
        (drop (i32.atomic.rmw.add offset=4 (local.get $x) (i32.const 1)))
        (drop (i64.atomic.rmw.add offset=8 (local.get $x) (i64.const 1)))
        (drop (i32.atomic.rmw8.add_u (local.get $x) (i32.const 1)))
        (drop (i32.atomic.rmw16.add_u offset=2 (local.get $x) (i32.const 1)))
        (drop (i32.atomic.rmw.add offset=4 (local.get $x) (i32.const 1)))
        (drop (i64.atomic.rmw.add offset=8 (local.get $x) (i64.const 1)))
        (br_if $rounds (i32.lt_u (local.get $round) (i32.const 2000))))))
  (invoke "run"))

(wait $T1)
(wait $T2)
(register "mem" $Mem)
(module $Check
  (memory (import "mem" "shared") 8 8 shared)
  ;; How many rounds ended as the memory model forbids.
  (func (export "forbidden") (result i32) (local $round i32) (local $x i32) (local $count i32)
    (loop $rounds
      (local.set $round (i32.add (local.get $round) (i32.const 1)))
      (local.set $x (i32.shl (local.get $round) (i32.const 8)))
      (local.set $count (i32.add (local.get $count)
        (i32.or
          (i64.ne (i64.load (local.get $x)) (i64.const 0x00000008_0008_00_08))
          (i64.ne (i64.load offset=8 (local.get $x)) (i64.const 8)))))
      (br_if $rounds (i32.lt_u (local.get $round) (i32.const 2000))))
    (local.get $count)))
(assert_return (invoke $Check "forbidden") (i32.const 0))
