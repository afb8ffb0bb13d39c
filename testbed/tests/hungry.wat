;; A guest that requests one more mebibyte of memory and accepts. It traps if it does not get the memory.
(module
  (import "wapc" "__guest_response" (func $guest_response (param i32 i32)))

  (memory (export "memory") 1)
  (data (i32.const 0) "{\"accepted\":true}")

  (func (export "__guest_call") (param i32 i32) (result i32)
    (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1))
      (then (unreachable)))
    (call $guest_response (i32.const 0) (i32.const 17))
    (i32.const 1)))
