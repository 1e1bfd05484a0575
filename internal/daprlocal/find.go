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
type MissingError struct {
	Name string
	Dir  string // where the environment says it is; "" if that says nothing
}

func (e *MissingError) Error() string {
	if e.Dir != "" {
		return binEnv + " is " + e.Dir + ", and there is no program " + e.Name + " in it"
	}
	why := "Dapr's " + e.Name + " is not here: `make dapr` builds it into bin/"
	if e.Name != Sentry { // which that leaves out
		why += ", or install Dapr and run `dapr init --slim`"
	}
	return why
}

// binEnv names the one folder to look in.
const binEnv = "ORDERSAGA_DAPR_BIN"

// Find looks for the programs in ORDERSAGA_DAPR_BIN and, without that, where
// `dapr init --slim` puts them, in bin/, and on the PATH. They come from the
// first place that has all three: they should be of one version.
func Find() (b Binaries, err error) {
	for _, dir := range dirs() {
		if b, err = findIn(dir); err == nil {
			return b, nil
		}
	}
	return b, err
}

func findIn(dir string) (b Binaries, err error) {
	for _, p := range []struct {
		name string
		to   *string
	}{{"daprd", &b.Daprd}, {Placement, &b.Placement}, {Scheduler, &b.Scheduler}} {
		if *p.to, err = look(dir, p.name); err != nil {
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
	if d := os.Getenv(binEnv); d != "" {
		return []string{d} // others may be of another version than the one that was asked for
	}
	if home, err := os.UserHomeDir(); err == nil {
		dirs = append(dirs, filepath.Join(home, ".dapr", "bin"))
	}
	return append(dirs, "bin", "")
}

func look(dir, name string) (string, error) {
	at, err := exec.LookPath(filepath.Join(dir, name))
	if err != nil {
		return "", &MissingError{name, os.Getenv(binEnv)}
	}
	if at, err = filepath.Abs(at); err != nil {
		return "", fmt.Errorf("find %s: %w", name, err)
	}
	return at, nil
}
