package daprlocal

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Binaries are the paths of Dapr's programs.
type Binaries struct{ Daprd, Placement, Scheduler string }

// MissingError says how to get what is not there.
type MissingError struct{ Name string }

func (e *MissingError) Error() string {
	why := "Dapr's " + e.Name + " is not here: `make dapr` builds it into bin/"
	if e.Name != Sentry { // which that leaves out
		why += ", or install Dapr and run `dapr init --slim`"
	}
	return why
}

// Find looks for the programs in bin/, in ORDERSAGA_DAPR_BIN, where `dapr init`
// puts them, and on the PATH.
func Find() (b Binaries, err error) {
	for name, to := range map[string]*string{"daprd": &b.Daprd, "placement": &b.Placement, "scheduler": &b.Scheduler} {
		if *to, err = FindOne(name); err != nil {
			return b, err
		}
	}
	return b, nil
}

// FindOne is Find for one of Dapr's programs.
func FindOne(name string) (string, error) {
	dirs := []string{os.Getenv("ORDERSAGA_DAPR_BIN"), "bin"}
	if home, err := os.UserHomeDir(); err == nil {
		dirs = append(dirs, filepath.Join(home, ".dapr", "bin"))
	}
	for _, d := range dirs {
		if d == "" {
			continue
		}
		if at, err := exec.LookPath(filepath.Join(d, name)); err == nil {
			if at, err = filepath.Abs(at); err != nil {
				return "", fmt.Errorf("find %s: %w", name, err)
			}
			return at, nil
		}
	}
	at, err := exec.LookPath(name)
	if err != nil {
		return "", &MissingError{name}
	}
	return at, nil
}
