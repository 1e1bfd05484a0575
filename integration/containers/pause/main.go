// Command pause holds a pod's network namespace until it receives SIGTERM or SIGINT, so that the
// containers in the pod can be stopped and started.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGTERM, os.Interrupt)
	<-c
}
