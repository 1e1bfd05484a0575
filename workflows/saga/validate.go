package saga

import (
	"errors"
	"fmt"
)

// Validate returns all faults of the table, joined, or nil. Call it before the saga
// is registered: Workflow does not.
func (sg Saga[S]) Validate() error {
	var errs []error
	seen := map[string]bool{}
	for i, s := range sg.Steps {
		at := fmt.Sprintf("step %d (%s)", i, s.Name)
		if s.Name == "" || seen[s.Name] {
			errs = append(errs, fmt.Errorf("%s: needs a unique name", at))
		}
		seen[s.Name] = true
		if (s.Do == "") == (s.Wait == nil) {
			errs = append(errs, fmt.Errorf("%s: needs either Do or Wait", at))
		}
		if s.Manual != "" && (s.Do == "" || s.Manual == s.Do) {
			errs = append(errs, fmt.Errorf("%s: Manual needs a Do, and must be another activity", at))
		}
		if s.Do != "" {
			errs = append(errs, withPrefix(at+" Retry", s.Retry.Validate()))
		}
		if s.Undo != "" {
			errs = append(errs, withPrefix(at+" UndoRetry", s.UndoRetry.Validate()))
		}
		if s.Wait != nil && !s.Wait.complete() {
			errs = append(errs, fmt.Errorf("%s: Wait needs Signal, Timeout, Received, and either TimedOut or Settle", at))
		}
	}
	return errors.Join(errs...)
}

func (w *Wait[S]) complete() bool {
	return w.Signal != "" && w.Timeout != nil && w.Received != nil && (w.TimedOut == nil) == (w.Settle != "")
}

func withPrefix(at string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", at, err)
}
