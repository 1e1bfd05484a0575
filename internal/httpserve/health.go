package httpserve

import (
	"encoding/json"
	"net/http"
)

// WriteHealth writes the response of a health check: 200, or 503 with err if that is not nil.
func WriteHealth(w http.ResponseWriter, err error) {
	body := struct {
		Status string `json:"status"`
		Error  string `json:"error,omitempty"`
	}{Status: "ok"}
	status := http.StatusOK
	if err != nil {
		body.Status, body.Error, status = "not ready", err.Error(), http.StatusServiceUnavailable
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // an error means that the client has disconnected
}
