package embedded

func init() { assertions = true } // before any test opens an engine
