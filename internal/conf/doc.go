// Package conf decodes YAML strictly into structs and reports the position of errors.
//
// It refuses everything that a reader could misunderstand: keys that the struct
// does not have, duplicate keys, values of another type, empty values, tabs as
// indentation, and YAML features that build a document out of itself (anchors,
// aliases, merge keys, tags, directives, several documents). Each error is an *Error
// with file, line and column, and says what was expected; the command exits with 2 for
// one.
//
//	var plan Plan
//	err := conf.Decode("plan.yaml", data, &plan)
//	// plan.yaml:3:15: queue_depth: expected a whole number from 0 to 4294967295, got "many"
//
// Fields are found by their yaml tag, `yaml:"name"`; `yaml:",inline"` treats an
// embedded struct's fields as the outer struct's own and `yaml:"-"` hides one.
// A field that the document does not name keeps its value, so decoding a second
// document into the same struct overrides the first; a slice or a map is
// replaced as a whole. A type with several spellings implements Unmarshaler.
// encoding.TextUnmarshaler gets any scalar's text, and time.Duration is "15us".
//
// Rules that relate several fields are checked by the struct's own Validate, which does
// not depend on YAML and returns At("steps[2].size", "..."); Locate then adds the
// position in the file:
//
//	doc, err := conf.Parse(file, data)
//	err = doc.Decode(&profile)
//	err = doc.Locate(profile.Validate())
package conf
