package target

import (
	"errors"
	"fmt"
	"strings"
)

// The bounds of a command line.
const (
	// MaxText bounds the text that names a server, in bytes.
	MaxText = 16 << 10
	// MaxWords bounds the words that it has.
	MaxWords = 512
)

// Split splits text into words by the quoting of sh(1), and expands nothing: blanks
// separate words; between single quotes all characters stand for themselves; between
// double quotes a backslash quotes ", \, $, ` and a line break alone, elsewhere any
// character. A backslash before a line break removes both. $, * and ; stand for
// themselves, as no shell sees them.
func Split(text string) ([]string, error) {
	switch {
	case len(text) > MaxText:
		return nil, fmt.Errorf("expected at most %d bytes, got %d", MaxText, len(text))
	case strings.ContainsRune(text, 0):
		return nil, errors.New("expected text without NUL")
	}
	s := splitter{rest: text}
	for s.rest != "" {
		if err := s.next(); err != nil {
			return nil, err
		}
	}
	s.end()
	if len(s.words) > MaxWords {
		return nil, fmt.Errorf("expected at most %d words, got %d", MaxWords, len(s.words))
	}
	return s.words, nil
}

// splitter is the state of Split.
type splitter struct {
	rest   string
	words  []string
	word   strings.Builder
	inWord bool // a word has begun, which may be empty as '' is
}

// next takes one character, or all that a quote has.
func (s *splitter) next() error {
	c := s.rest[0]
	s.rest = s.rest[1:]
	switch c {
	case ' ', '\t', '\n':
		s.end()
	case '\'':
		return s.single()
	case '"':
		return s.double()
	case '\\':
		return s.escaped()
	default:
		s.add(c)
	}
	return nil
}

func (s *splitter) add(c byte) {
	s.word.WriteByte(c)
	s.inWord = true
}

// end ends a word, if there is one.
func (s *splitter) end() {
	if s.inWord {
		s.words = append(s.words, s.word.String())
		s.word.Reset()
		s.inWord = false
	}
}

func (s *splitter) single() error {
	text, rest, ok := strings.Cut(s.rest, "'")
	if !ok {
		return fmt.Errorf("expected a closing ' after %q", s.rest)
	}
	s.word.WriteString(text)
	s.inWord, s.rest = true, rest
	return nil
}

func (s *splitter) double() error {
	s.inWord = true
	for i := 0; i < len(s.rest); i++ {
		switch c := s.rest[i]; {
		case c == '"':
			s.rest = s.rest[i+1:]
			return nil
		case c == '\\' && i+1 < len(s.rest) && strings.IndexByte("\"\\$`\n", s.rest[i+1]) >= 0:
			if i++; s.rest[i] != '\n' {
				s.add(s.rest[i])
			}
		default:
			s.add(c)
		}
	}
	return fmt.Errorf("expected a closing \" after %q", s.rest)
}

func (s *splitter) escaped() error {
	if s.rest == "" {
		return errors.New(`expected a character after the last \`)
	}
	if c := s.rest[0]; c != '\n' {
		s.add(c)
	}
	s.rest = s.rest[1:]
	return nil
}
