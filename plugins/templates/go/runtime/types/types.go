// Package types has what the contract's optional values and results are in Go.
package types

// Which of its two cases a value is.
const (
	OptionNone = 0
	OptionSome = 1
	ResultOk   = 0
	ResultErr  = 1
)

// Unit is nothing, where there must be a type.
type Unit struct{}

// Option is a value that may be missing.
type Option[T any] struct {
	some  bool
	value T
}

// Some is a value that is there.
func Some[T any](value T) Option[T] { return Option[T]{some: true, value: value} }

// None is a value that is missing.
func None[T any]() Option[T] { return Option[T]{} }

// Tag says whether the value is there: OptionNone or OptionSome.
func (o Option[T]) Tag() uint8 {
	if o.some {
		return OptionSome
	}
	return OptionNone
}

// IsSome says whether the value is there.
func (o Option[T]) IsSome() bool { return o.some }

// Some is the value; it panics where there is none.
func (o Option[T]) Some() T {
	if !o.some {
		panic("there is no value")
	}
	return o.value
}

// Result is what came of a call: what was asked for, or why not.
type Result[T any, E any] struct {
	failed bool
	value  T
	err    E
}

// Ok is a result that was asked for.
func Ok[T any, E any](value T) Result[T, E] { return Result[T, E]{value: value} }

// Err is a result that says why not.
func Err[T any, E any](err E) Result[T, E] { return Result[T, E]{failed: true, err: err} }

// Tag says which: ResultOk or ResultErr.
func (r Result[T, E]) Tag() uint8 {
	if r.failed {
		return ResultErr
	}
	return ResultOk
}

// IsErr says whether there is nothing of what was asked for.
func (r Result[T, E]) IsErr() bool { return r.failed }

// Ok is what was asked for; it panics where there is an error.
func (r Result[T, E]) Ok() T {
	if r.failed {
		panic("the result is an error")
	}
	return r.value
}

// Err is the error; it panics where there is none.
func (r Result[T, E]) Err() E {
	if !r.failed {
		panic("the result is no error")
	}
	return r.err
}
