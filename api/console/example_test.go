package console_test

import (
	"fmt"

	"github.com/ordersaga/ordersaga/api/console"
)

// A server routes the console's paths to console.New and all others to the API.
func ExampleServes() {
	for _, path := range []string{"/", "/console/sagas/o-1042", "/v1/sagas/o-1042", "/openapi.json"} {
		if console.Serves(path) {
			fmt.Println(path, "is the console's")
		} else {
			fmt.Println(path, "is the API's")
		}
	}
	// Output:
	// / is the console's
	// /console/sagas/o-1042 is the console's
	// /v1/sagas/o-1042 is the API's
	// /openapi.json is the API's
}
