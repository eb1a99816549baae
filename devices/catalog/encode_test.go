package catalog

import (
	"bytes"
	"reflect"
	"testing"
)

// What is written reads as what it was, for every profile that there is.
func TestAnEncodedProfileIsReadAsItWas(t *testing.T) {
	names := append(List(), "../../docs/testdata/empirical.yaml")
	for _, name := range names {
		p, err := Load(name)
		if err != nil {
			t.Fatal(err)
		}
		p.Published = append(p.Published, Row{ID: "mine", Op: "flush_n", Jobs: 3, Size: 1 << 20, Value: 1.5, Unit: "ms", Tolerance: 0.1, Source: "a \"test\": [of] sorts, # and more"})
		p.About = "on several lines:\nwith - odd 'words' in it\n"
		text, err := p.Encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse(p.file, text)
		if err != nil {
			t.Fatalf("%s: %v in\n%s", name, err, text)
		}
		want := *p
		want.Extends = ""
		if !p.IsArray() && !reflect.DeepEqual(&want, again) { // of members the texts are compared
			t.Errorf("%s: got\n%+v\nwant\n%+v\nfrom\n%s", name, again, &want, text)
		}
		if twice, err := again.Encode(); err != nil || !bytes.Equal(text, twice) {
			t.Errorf("%s: written again it differs: %v", name, err)
		}
	}
}
