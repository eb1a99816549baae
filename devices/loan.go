package devices

// A Loan is the payload of a request that was completed while its bytes are still in
// use, because a call that holds them does not return. Who submitted the request
// gives them to no other until the loan is returned.
type Loan struct {
	// Returned, which the submitter may set in Done, is called on the loop once the
	// bytes are free.
	Returned func()
}

// Return ends the loan. Only on the loop.
func (l *Loan) Return() {
	if l.Returned != nil {
		l.Returned()
	}
}
