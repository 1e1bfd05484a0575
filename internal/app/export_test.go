package app

// For tests.
var (
	LoadOf      = loadOf
	RoomForLost = roomForLost
)
