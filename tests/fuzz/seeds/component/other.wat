(component
  (type $r (record (field "a" u32) (field "b" (list string))))
  (import "host" (func $h (param "x" $r) (result (tuple u8 (option f64)))))
  (core module $m (memory (export "memory") 1) (table 2 funcref)
    (func (export "f") (result i32) (i32.const 0)) (elem (i32.const 0) func 0) (data (i32.const 8) "seed"))
  (core instance $i (instantiate $m))
  (component $inner (type $t u8) (export "t" (type $t)))
  (instance (instantiate $inner))
  (func (export "greet") (result u32) (canon lift (core func $i "f"))))
