package keda

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/ordersaga/ordersaga/internal/testkit"
)

func TestMain(m *testing.M) {
	testkit.UseBuiltDapr()
	goleak.VerifyTestMain(m)
}
