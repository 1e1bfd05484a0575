package embedded

// assertions makes assert panic. Only tests set it: in production a wrong
// counter is better than a worker that stops.
var assertions bool

// assert panics in tests if a condition that must always hold does not. what is
// the violated condition.
func assert(holds bool, what string) {
	if assertions && !holds {
		panic("embedded: " + what)
	}
}
