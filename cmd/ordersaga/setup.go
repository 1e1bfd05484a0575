package main

import "github.com/ordersaga/ordersaga/internal/cloud"

// setupCmd creates the AWS resources.
type setupCmd struct{ awsFlags }

// Run has no hint for permissions: the CloudFormation roles have none to create anything.
func (c setupCmd) Run(e env) error { return cloud.WithCredentialsHint(c.run(e)) }

func (c setupCmd) run(e env) error {
	clients, store, err := c.store(e)
	if err != nil {
		return err
	}
	r, err := clients.Setup(e.ctx)
	if err != nil {
		return err
	}
	if err := store.CreateTables(e.ctx); err != nil {
		return err
	}
	if err := clients.CreateCursorTable(e.ctx, c.TablePrefix); err != nil {
		return err
	}
	return printJSON(e.out, r)
}
