;; A guest whose start never ends.
(module
  (memory (export "memory") 1)
  (func (export "_start") (loop $again (br $again)))
  (func (export "__guest_call") (param i32 i32) (result i32)
    (i32.const 0)))
