;; A small guest with one look-up: it reads the ConfigMap shop/app. If the ConfigMap exists, it accepts with a
;; mutated object. Otherwise it fails with the text of the host. Its settings are always valid.
(module
  (import "wapc" "__host_call" (func $host_call (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wapc" "__host_error_len" (func $host_error_len (result i32)))
  (import "wapc" "__host_error" (func $host_error (param i32)))
  (import "wapc" "__guest_response" (func $guest_response (param i32 i32)))
  (import "wapc" "__guest_error" (func $guest_error (param i32 i32)))

  (memory (export "memory") 1)
  (data (i32.const 0) "kubewarden")
  (data (i32.const 10) "kubernetes")
  (data (i32.const 20) "get_resource")
  (data (i32.const 100) "{\"api_version\":\"v1\",\"kind\":\"ConfigMap\",\"namespace\":\"shop\",\"name\":\"app\",\"disable_cache\":true}")
  (data (i32.const 300) "{\"valid\":true}")
  (data (i32.const 400) "{\"accepted\":true,\"mutated_object\":{\"seen\":true}}")

  (func (export "__guest_call") (param $function_length i32) (param $payload_length i32) (result i32)
    ;; Only `validate_settings` has a name of this length.
    (if (i32.eq (local.get $function_length) (i32.const 17))
      (then
        (call $guest_response (i32.const 300) (i32.const 14))
        (return (i32.const 1))))
    (if (call $host_call
          (i32.const 0) (i32.const 10)
          (i32.const 10) (i32.const 10)
          (i32.const 20) (i32.const 12)
          (i32.const 100) (i32.const 92))
      (then
        (call $guest_response (i32.const 400) (i32.const 48))
        (return (i32.const 1))))
    (call $host_error (i32.const 1000))
    (call $guest_error (i32.const 1000) (call $host_error_len))
    (i32.const 0)))
