package units_test

import (
	"fmt"

	"nbdbench/internal/units"
)

func Example() {
	size, err := units.ParseSize("64k")
	fmt.Println(size, uint64(size), err)
	_, err = units.ParseRate("fast")
	fmt.Println(err)
	// Output:
	// 64KiB 65536 <nil>
	// "fast": expected a rate such as 5000/s, 100/ms or 30/min, at most 1e9/s
}
