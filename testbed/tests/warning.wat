;; A guest that accepts everything, with a message, a warning and an audit annotation.
(module
  (import "wapc" "__guest_response" (func $guest_response (param i32 i32)))

  (memory (export "memory") 1)
  (data (i32.const 0) "{\"valid\":true}")
  (data (i32.const 100) "{\"accepted\":true,\"message\":\"fine\",\"warnings\":[\"careful\"],\"audit_annotations\":{\"a\":\"b\"}}")

  (func (export "__guest_call") (param $function_length i32) (param i32) (result i32)
    ;; Only `validate_settings` has a name of this length.
    (if (i32.eq (local.get $function_length) (i32.const 17))
      (then (call $guest_response (i32.const 0) (i32.const 14)))
      (else (call $guest_response (i32.const 100) (i32.const 87))))
    (i32.const 1)))
