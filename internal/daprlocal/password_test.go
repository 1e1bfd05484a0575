package daprlocal

import (
	"strings"
	"testing"
)

// TestNoPasswordInErrors: drivers repeat a connection string that they cannot
// parse.
func TestNoPasswordInErrors(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"postgres://sagas:s3cret@db:port/x", "host=db user=sagas password=s3cret port=x"} {
		fault := "Failed to init component statestore: cannot parse `" + address + "`: invalid port"
		got := messageOf(`level=fatal msg="` + fault + `" scope=dapr`)
		if strings.Contains(got, "s3cret") || !strings.Contains(got, "sagas") || !strings.HasSuffix(got, "invalid port") {
			t.Errorf("messageOf = %q, want it without the password", got)
		}
	}
}
