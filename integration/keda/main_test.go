package keda

import (
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	bin := filepath.Join("..", "..", "bin")
	if _, err := os.Stat(filepath.Join(bin, "daprd")); err == nil && os.Getenv("ORDERSAGA_DAPR_BIN") == "" {
		if err := os.Setenv("ORDERSAGA_DAPR_BIN", bin); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(m)
}
