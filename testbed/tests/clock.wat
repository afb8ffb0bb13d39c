;; A guest that answers with the time of its monotonic clock, in nanoseconds.
(module
  (import "wapc" "__guest_response" (func $guest_response (param i32 i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock_time_get (param i32 i64 i32) (result i32)))

  (memory (export "memory") 1)

  (func (export "__guest_call") (param i32 i32) (result i32)
    (drop (call $clock_time_get (i32.const 1) (i64.const 0) (i32.const 0)))
    (call $guest_response (i32.const 0) (i32.const 8))
    (i32.const 1)))
