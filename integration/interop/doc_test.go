// Package interop controls order sagas with the client of
// github.com/microsoft/durabletask-go, on both engines. It is a module of its own and runs
// ordersaga as a child process, because that module and Dapr's fork of it cannot be linked
// into one binary (ADR 0001).
package interop
