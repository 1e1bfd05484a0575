package dapr

import "testing"

func TestSupportedVersions(t *testing.T) {
	for version, want := range map[string]bool{
		"1.18.0": true, "1.18.2": true, "1.19.0-rc.1": true, "2.0.0": true, "v1.18.0": true, "edge": true,
		"1.17.9": false, "1.18.0-rc.1": false, "0.11.3": false, "": false, "nonsense": false,
	} {
		if err := supported(version); (err == nil) != want {
			t.Errorf("%q: %v", version, err)
		}
	}
}
