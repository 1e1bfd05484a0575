package app

// LoadOf is for tests.
var LoadOf = loadOf
