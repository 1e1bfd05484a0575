//go:build ignore

// Command temporal is `temporal server start-dev --headless` of Temporal's CLI, without its other
// commands: these need a module that is not published. The Makefile builds it inside a copy of
// the CLI.
package main

import (
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"

	"github.com/google/uuid"

	"github.com/temporalio/cli/internal/devserver"
)

func main() {
	port := flag.Int("port", 7233, "port of 127.0.0.1")
	file := flag.String("db-filename", "temporal.db", "SQLite file")
	flag.Parse()
	s, err := devserver.Start(devserver.StartOptions{
		FrontendIP: "127.0.0.1", FrontendPort: *port, Namespaces: []string{"default"}, DatabaseFile: *file,
		MetricsPort: devserver.MustGetFreePort("127.0.0.1"),
		Logger:      slog.New(slog.NewTextHandler(os.Stderr, nil)), LogLevel: slog.LevelError,
		ClusterID: uuid.NewString(), MasterClusterName: "active", CurrentClusterName: "active", InitialFailoverVersion: 1,
		// The CLI's own values.
		DynamicConfigValues: map[string]any{
			"system.forceSearchAttributesCacheRefreshOnRead": true, "system.forceNexusEndpointRefreshOnRead": true,
			"frontend.persistenceMaxQPS": 10000, "history.persistenceMaxQPS": 45000,
		},
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "temporal:", err)
		os.Exit(1)
	}
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt)
	<-interrupted
	s.Stop()
}
