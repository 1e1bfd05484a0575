package daprlocal

import (
	"strings"
	"testing"
)

// TestNoPasswordInErrors: drivers repeat a connection string that they cannot
// read.
func TestNoPasswordInErrors(t *testing.T) {
	for _, address := range []string{"postgres://sagas:s3cret@db:port/x", "host=db user=sagas password=s3cret port=x"} {
		got := text(`level=fatal msg="Failed to init component statestore: cannot parse ` + "`" + address + "`" + `: invalid port" scope=dapr`)
		if strings.Contains(got, "s3cret") || !strings.Contains(got, "sagas") || !strings.HasSuffix(got, "invalid port") {
			t.Error(got)
		}
	}
}
