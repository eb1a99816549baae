// Package conf reads YAML strictly, into structs, and says where it is wrong.
//
// Everything that a reader could misunderstand is refused: keys that the struct
// does not have, keys given twice, values of another type, values left empty,
// tabs as indentation, and YAML's means of building a document out of itself
// (anchors, aliases, merge keys, tags, directives, several documents). Each
// error is an *Error with file, line and column, and says what was expected;
// the command exits with 2 for one.
//
//	var plan Plan
//	err := conf.Decode("plan.yaml", data, &plan)
//	// plan.yaml:3:15: queue_depth: expected a whole number from 0 to 4294967295, got "many"
//
// Fields are found by their yaml tag, `yaml:"name"`; `yaml:",inline"` takes an
// embedded struct's fields as the outer struct's own and `yaml:"-"` hides one.
// A field that the document does not name keeps its value, so decoding a second
// document into the same struct overrides the first; a slice or a map is
// replaced as a whole. A type with several spellings implements Unmarshaler.
// encoding.TextUnmarshaler gets any scalar's text, and time.Duration is "15us".
//
// What only the reader of the whole can judge is checked by its own Validate,
// which knows nothing of YAML and returns At("steps[2].size", "..."); Locate
// then adds the place in the file:
//
//	doc, err := conf.Parse(file, data)
//	err = doc.Decode(&profile)
//	err = doc.Locate(profile.Validate())
package conf
