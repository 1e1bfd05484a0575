package daprlocal

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// startSentry starts Dapr's certificate authority, which creates its root
// certificate if its folder has none. It returns the flags with which the other
// processes of the control plane use it.
func (c *Cluster) startSentry(ctx context.Context) (flags []string, err error) {
	binary, err := FindOne(Sentry)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(c.opt.Dir, "sentry")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("create the folder for sentry: %w", err)
	}
	p, err := FreePorts(3)
	if err != nil {
		return nil, err
	}
	args := []string{
		"--port", p[0], "--listen-address", "127.0.0.1",
		"--healthz-port", p[1], "--healthz-listen-address", "127.0.0.1",
		"--metrics-port", p[2], "--metrics-listen-address", "127.0.0.1",
		"--issuer-credentials", dir,
	}
	for _, file := range c.opt.Configs[:min(1, len(c.opt.Configs))] { // it accepts one: the first has its settings
		args = append(args, "--config", file)
	}
	if err := c.run(ctx, Sentry, p[1], "/healthz", binary, args...); err != nil {
		return nil, err
	}
	root := filepath.Join(dir, "ca.crt")
	anchors, err := os.ReadFile(root)
	if err != nil {
		return nil, fmt.Errorf("read sentry's root certificate: %w", err)
	}
	c.sentry = loopback(p[0])
	c.opt.Env = append([]string{"DAPR_TRUST_ANCHORS=" + string(anchors)}, c.opt.Env...)
	return []string{"--tls-enabled", "--sentry-address", c.sentry, "--trust-anchors-file", root}, nil
}
