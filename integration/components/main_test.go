// Package components tests the files that are shipped for Dapr as they are,
// with the real Dapr and an AWS that is not our own.
package components

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// root is the module's, from here.
var root = filepath.Join("..", "..")

func TestMain(m *testing.M) {
	bin, err := filepath.Abs(filepath.Join(root, "bin"))
	if os.Getenv("ORDERSAGA_DAPR_BIN") == "" {
		err = errors.Join(err, os.Setenv("ORDERSAGA_DAPR_BIN", bin))
	}
	err = errors.Join(err, os.Setenv("PATH", filepath.Join(bin, "moto", "bin")+":"+os.Getenv("PATH")))
	if err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}
