package main

import (
	"github.com/alecthomas/kong"
	kongcompletion "github.com/jotaen/kong-completion"
)

// completionCmd is kongcompletion.Completion with help texts of our own.
type completionCmd struct {
	Shell string `arg:"" default:"" enum:"bash,zsh,fish," help:"Shell: bash, zsh or fish. Default: your login shell."`
	Code  bool   `short:"c" help:"Print the completion script, which the command loads."`
}

// Help implements kong.HelpProvider.
func (completionCmd) Help() string {
	return "Prints a command that activates tab completion in the current shell session. " +
		"To activate it in each new session, add the command to your shell's init file."
}

func (c completionCmd) Run(command *kong.Context) error {
	return (&kongcompletion.Completion{Shell: c.Shell, Code: c.Code}).Run(command)
}
