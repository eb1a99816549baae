// Package table lays out a [Table] as text for a terminal, Markdown, CSV and JSON.
// A column says in which of them it is shown, and what gives way where room is
// short. What reaches a terminal or a spreadsheet is escaped.
package table
