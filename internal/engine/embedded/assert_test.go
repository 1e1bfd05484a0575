package embedded

func init() { assertions = true } //nolint:gochecknoinits // before any test opens an engine
