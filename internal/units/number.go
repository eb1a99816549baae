package units

import (
	"errors"
	"math/bits"
)

var (
	errNotNumber = errors.New("not a number")
	errTooLarge  = errors.New("too large")
	errNotWhole  = errors.New("not a whole number of bytes")
)

// maxFraction bounds the digits after a decimal point: 10^18 still fits.
const maxFraction = 18

// divide returns a*b/c if that is whole.
func divide(a, b, c uint64) (uint64, error) {
	hi, lo := bits.Mul64(a, b)
	if hi >= c {
		return 0, errTooLarge
	}
	quotient, remainder := bits.Div64(hi, lo, c)
	if remainder != 0 {
		return 0, errNotWhole
	}
	return quotient, nil
}

// assign sets *to to what parse makes of s, or leaves it and returns the error.
func assign[T any](to *T, s string, parse func(string) (T, error)) error {
	v, err := parse(s)
	if err != nil {
		return err
	}
	*to = v
	return nil
}
