package daprlocal

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Binaries has the absolute paths of Dapr's programs.
type Binaries struct{ Daprd, Placement, Scheduler string }

// MissingError means that one of Dapr's programs was not found. Its text names the
// command that installs it.
type MissingError struct {
	Name string // of the program
	Dir  string // value of ORDERSAGA_DAPR_BIN, or ""
}

// Error implements error.
func (e *MissingError) Error() string {
	if e.Dir != "" {
		return binEnv + " is " + e.Dir + ", and there is no program " + e.Name + " in it"
	}
	why := "Dapr's " + e.Name + " is not here: `make dapr` builds it into bin/"
	if e.Name != Sentry { // `dapr init --slim` does not install it
		why += ", or install Dapr and run `dapr init --slim`"
	}
	return why
}

// binEnv is the variable with the only folder to look in.
const binEnv = "ORDERSAGA_DAPR_BIN"

// Find returns Dapr's programs. It looks in the folder ORDERSAGA_DAPR_BIN only, if
// that is set; otherwise where `dapr init --slim` installs them, in bin/, and on
// the PATH. All three come from the first place that has all of them, so that
// they have the same version. The error is a *MissingError.
func Find() (b Binaries, err error) {
	for _, dir := range dirs() {
		b, err = findIn(dir)
		if err == nil {
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
		*p.to, err = lookIn(dir, p.name)
		if err != nil {
			return b, err
		}
	}
	return b, nil
}

// FindOne returns the absolute path of one of Dapr's programs. It looks in the same
// places as Find. The error is a *MissingError.
func FindOne(name string) (at string, err error) {
	for _, dir := range dirs() {
		at, err = lookIn(dir, name)
		if err == nil {
			return at, nil
		}
	}
	return "", err
}

// dirs returns the folders to look in; "" is the PATH.
func dirs() (dirs []string) {
	if d := os.Getenv(binEnv); d != "" {
		return []string{d} // other folders may have another version
	}
	if home, err := os.UserHomeDir(); err == nil {
		dirs = append(dirs, filepath.Join(home, ".dapr", "bin"))
	}
	return append(dirs, "bin", "")
}

func lookIn(dir, name string) (string, error) {
	at, err := exec.LookPath(filepath.Join(dir, name))
	if err != nil {
		return "", &MissingError{Name: name, Dir: os.Getenv(binEnv)}
	}
	at, err = filepath.Abs(at)
	if err != nil {
		return "", fmt.Errorf("find %s: %w", name, err)
	}
	return at, nil
}
