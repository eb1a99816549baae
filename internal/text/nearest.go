package text

// Nearest is the word among others that s was probably meant to be, or empty: it
// differs by the fewest insertions, deletions, replacements and exchanges of neighbours,
// by at most two and by less than half of s.
func Nearest(s string, others []string) string {
	best, least := "", min(3, (len(s)+1)/2)
	for _, o := range others {
		if d := distance(s, o, least); d < least {
			best, least = o, d
		}
	}
	return best
}

// DidYouMean is " (did you mean WORD?)", or empty where no word is near.
func DidYouMean(s string, others []string) string {
	if w := Nearest(s, others); w != "" && w != s {
		return " (did you mean " + w + "?)"
	}
	return ""
}

// maxWord is the longest word of which a distance is computed, in bytes.
const maxWord = 128

// distance is how many insertions, deletions, replacements and exchanges of neighbours
// lead from a to b, or most if it is not less.
func distance(a, b string, most int) int {
	if len(a) > maxWord || len(b) > maxWord || max(len(a)-len(b), len(b)-len(a)) >= most {
		return most
	}
	var rows [3][maxWord + 1]int // of i+1, i and i-1 bytes of a
	for j := range len(b) + 1 {
		rows[1][j] = j
	}
	for i := range len(a) {
		rows[0][0] = i + 1
		for j := range len(b) {
			d := rows[1][j]
			if a[i] != b[j] {
				d = 1 + min(d, rows[0][j], rows[1][j+1])
			}
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				d = min(d, 1+rows[2][j-1])
			}
			rows[0][j+1] = d
		}
		rows[0], rows[1], rows[2] = rows[2], rows[0], rows[1]
	}
	return min(rows[1][len(b)], most)
}
