// Package main is what Go makes a module of; the exports are in wit_exports.
package main

import _ "{{module}}/bindings/wit_exports"

func main() {}
