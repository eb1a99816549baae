package results

import _ "embed"

// RunSchema is the JSON Schema (2020-12) of the run document.
//
//go:embed schema/run-v1.schema.json
var RunSchema []byte
