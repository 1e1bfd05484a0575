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

// Find looks for the programs in ORDERSAGA_DAPR_BIN, where `dapr init --slim`
// puts them, in bin/, and on the PATH. They come from the first place that has
// all three: they should be of one version.
func Find() (b Binaries, err error) {
	for _, dir := range dirs() {
		if b, err = findIn(dir); err == nil {
			return b, nil
		}
	}
	return b, err
}

func findIn(dir string) (b Binaries, err error) {
	for name, to := range map[string]*string{"daprd": &b.Daprd, "placement": &b.Placement, "scheduler": &b.Scheduler} {
		if *to, err = look(dir, name); err != nil {
			return b, err
		}
	}
	return b, nil
}

// FindOne looks for one of Dapr's programs.
func FindOne(name string) (at string, err error) {
	for _, dir := range dirs() {
		if at, err = look(dir, name); err == nil {
			return at, nil
		}
	}
	return "", err
}

// dirs are where to look; "" is the PATH.
func dirs() (dirs []string) {
	if d := os.Getenv("ORDERSAGA_DAPR_BIN"); d != "" {
		dirs = append(dirs, d)
	}
	if home, err := os.UserHomeDir(); err == nil {
		dirs = append(dirs, filepath.Join(home, ".dapr", "bin"))
	}
	return append(dirs, "bin", "")
}

func look(dir, name string) (string, error) {
	at, err := exec.LookPath(filepath.Join(dir, name))
	if err != nil {
		return "", &MissingError{name}
	}
	if at, err = filepath.Abs(at); err != nil {
		return "", fmt.Errorf("find %s: %w", name, err)
	}
	return at, nil
}
