// Package chart draws figures: a [Frame] of title, legend and footer, styles,
// colours, axes, and the formats that a [Chart] is written in. A [Timeline] is a
// whole figure. It knows nothing of runs and their documents, which package results
// draws with it.
//
// A caller draws on a gonum canvas between the frame's head and its legend:
//
//	f := &chart.Frame{Title: "p99 by queue depth", Footer: "Seed 1."}
//	c := f.Chart("depth", 200, func(c draw.Canvas) { ... })
//	err := c.Save("depth.svg")
//
// Caveat: the same drawing has the same bytes, but not across releases of gonum.
package chart
