package main

import (
	"errors"
	"net/http"
	"syscall"
	"time"
)

// healthCmd exits with status 0 if a server can do its work.
type healthCmd struct {
	API        string `default:"http://127.0.0.1:8080" help:"Base URL of the server."`
	Path       string `default:"/readyz" help:"Health path. For local-aws use /_ordersaga/health."`
	AutoDetect bool   `aliases:"any" env:"ORDERSAGA_AUTO_DETECT,ORDERSAGA_ANY" help:"Check whichever of ordersaga's servers listens on its default port. For an image that may run any of them."`
}

// defaultServers are the default addresses and health paths of ordersaga's
// servers.
func defaultServers() []healthCmd {
	return []healthCmd{
		{API: "http://127.0.0.1:8080", Path: "/readyz"},
		{API: "http://127.0.0.1:8090", Path: "/readyz"},
		{API: "http://127.0.0.1:8091", Path: "/readyz"},
		{API: "http://127.0.0.1:4566", Path: "/_ordersaga/health"},
	}
}

func (c healthCmd) Run(e env) error {
	if c.AutoDetect {
		return checkFirstListening(e, defaultServers())
	}
	return c.check(e)
}

// checkFirstListening checks the first server that accepts a connection.
func checkFirstListening(e env, servers []healthCmd) (err error) {
	for _, s := range servers {
		err = s.check(e)
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return err
		}
	}
	return err
}

func (c healthCmd) check(e env) error {
	return apiFlags{API: c.API, Timeout: 10 * time.Second}.call(e, http.MethodGet, c.Path, nil, nil)
}
